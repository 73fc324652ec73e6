//! A generation: what is asked, and what is said, token by token, until a stop text, the budget or the end.

use std::borrow::Cow;

use super::{
    answer,
    likelihood::{Context, mix},
    token::{EOS, Pieces},
};

/// What the model is asked to continue or to answer.
#[derive(Clone, Debug)]
pub(crate) enum Prompt<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Messages, their texts joined where they have parts. A single one is answered as its text would be.
    Chat(Vec<Turn<'a>>),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn<'a> {
    /// `system`, `user` or `assistant`.
    pub(crate) role: Cow<'a, str>,
    /// Its text.
    pub(crate) content: Cow<'a, str>,
}

impl Prompt<'_> {
    /// The context after the prompt, and the number of its tokens, BOS and a template's own among them.
    pub(crate) fn read(&self) -> (Context, usize) {
        let mut context = Context::new();
        let mut count = 1;
        let mut text = |text: &str| {
            for piece in Pieces::of(text) {
                context.push(piece.id);
                count += 1;
            }
        };
        match self {
            Self::Text(prompt) => text(prompt),
            Self::Chat(turns) => {
                turns.iter().for_each(|turn| text(&turn.content));
                count += 4 * turns.len();
            }
        }
        (context, count)
    }

    /// What the answer depends on: the texts alone, whatever a chat template wrote around them.
    fn question(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => untemplated(text),
            Self::Chat(turns) => match turns.as_slice() {
                [only] => Cow::Borrowed(&*only.content),
                turns => {
                    let texts: Vec<&str> = turns.iter().map(|turn| turn.content.trim()).collect();
                    Cow::Owned(texts.join("\n\n"))
                }
            },
        }
    }

    /// Messages as the mock's own template writes them, the turn of the assistant opened.
    pub(crate) fn template(turns: &[Turn<'_>]) -> String {
        let mut text = String::new();
        for turn in turns {
            text.extend([OPEN, &*turn.role, CLOSE, &*turn.content, "\n"]);
        }
        text.extend([OPEN, "assistant", CLOSE]);
        text
    }
}

const OPEN: &str = "<|";
const CLOSE: &str = "|>\n";

/// The texts of a templated prompt, as [`Prompt::question`] joins those of messages.
fn untemplated(text: &str) -> Cow<'_, str> {
    let Some(text) = text.strip_prefix(OPEN) else {
        return Cow::Borrowed(text);
    };
    let parts = text.split(OPEN).filter_map(|turn| turn.split_once(CLOSE));
    let texts: Vec<&str> =
        parts.map(|(_, text)| text.trim()).filter(|text| !text.is_empty()).collect();
    Cow::Owned(texts.join("\n\n"))
}

/// A request for text.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    /// What to answer.
    pub(crate) prompt: Prompt<'a>,
    /// Most tokens; the one that ends the answer counts.
    pub(crate) max_tokens: Option<usize>,
    /// Least tokens.
    pub(crate) min_tokens: usize,
    /// Texts that end the answer.
    pub(crate) stop: Vec<Cow<'a, str>>,
    /// How a stop text is looked for.
    pub(crate) stops: Stops,
    /// As it was asked, or as the wire's server has it where nothing is asked; none leaves it to the one who answers,
    /// and the mock's own model is then greedy, as with 0.
    pub(crate) temperature: Option<f64>,
    /// For a server that really samples, as are the penalties.
    pub(crate) top_p: Option<f64>,
    /// Of tokens by how often they came.
    pub(crate) frequency_penalty: Option<f64>,
    /// Of tokens that came at all.
    pub(crate) presence_penalty: Option<f64>,
    /// Of a sampled answer. One below 0 stands here as its two's complement.
    pub(crate) seed: Option<u64>,
    /// Which of several answers to the same request.
    pub(crate) choice: u64,
}

impl<'a> Ask<'a> {
    /// A greedy request without bounds.
    pub(crate) const fn new(prompt: Prompt<'a>) -> Self {
        Self {
            prompt,
            max_tokens: None,
            min_tokens: 0,
            stop: Vec::new(),
            stops: Stops::Within,
            temperature: None,
            top_p: None,
            frequency_penalty: None,
            presence_penalty: None,
            seed: None,
            choice: 0,
        }
    }

    /// What chance makes of the answer; none if it is greedy.
    fn chance(&self) -> Option<u64> {
        let sampled =
            self.temperature.is_some_and(|temperature| temperature > 0.0) || self.choice > 0;
        sampled.then(|| mix(self.seed.unwrap_or(0)) ^ self.choice)
    }
}

/// How a server looks for stop texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stops {
    /// After each token, anywhere in the text.
    Within,
    /// After each token, at the end of the text: one that ends inside a token is missed (TGI).
    AtEnd,
}

/// What ended an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The model's own end.
    Eos,
    /// The stop text of this number.
    Stop(usize),
    /// The budget.
    Length,
}

/// One generated token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token {
    /// Its id.
    pub(crate) id: u32,
    /// The bytes of the text that it covers; none for the one that ends the answer.
    pub(crate) start: usize,
    /// The byte after it.
    pub(crate) end: usize,
    /// What came before it. It is the likeliest token there.
    pub(crate) context: Context,
}

impl Token {
    /// Natural logarithm of its probability.
    pub(crate) const fn logprob(&self) -> f64 {
        self.context.top_logprob()
    }

    /// Whether it is no part of the text.
    pub(crate) const fn special(&self) -> bool {
        self.id == EOS
    }

    /// The `most` likeliest tokens in its place, itself first.
    pub(crate) fn alternatives(&self, most: usize) -> Vec<(u32, f64)> {
        self.context.alternatives(self.id, most)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    /// Everything that was generated, also the stop text that ended it.
    text: String,
    /// Bytes of the text before the stop text.
    answer_len: usize,
    /// Its tokens.
    pub(crate) tokens: Vec<Token>,
    /// What ended it.
    pub(crate) end: End,
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
    /// Tokens generated.
    pub(crate) completion_tokens: usize,
}

impl Said {
    /// An answer of which only the text and the stop text after it are known; its tokens and their log-probabilities
    /// are the mock's own.
    pub(crate) fn of_text(
        mut text: String,
        stop: &str,
        end: End,
        mut context: Context,
        prompt_tokens: usize,
    ) -> Self {
        let answer_len = text.len();
        text.push_str(stop);
        let mut tokens = Vec::with_capacity(text.len() / 3 + 2);
        for piece in Pieces::of(&text) {
            tokens.push(Token { id: piece.id, start: piece.start, end: piece.end(), context });
            context.push(piece.id);
        }
        // An answer without any token would have no end to tell.
        if end == End::Eos || tokens.is_empty() {
            tokens.push(Token { id: EOS, start: text.len(), end: text.len(), context });
        }
        let completion_tokens = tokens.len();
        Self { text, answer_len, tokens, end, prompt_tokens, completion_tokens }
    }

    /// Ends the answer at the first of these tokens, which is then its last and no part of its text.
    pub(crate) fn end_at(&mut self, ids: &[u32]) {
        let Some(at) = self.tokens.iter().position(|token| ids.contains(&token.id)) else {
            return;
        };
        self.tokens.truncate(at + 1);
        if let Some(last) = self.tokens.last_mut() {
            last.end = last.start;
            self.text.truncate(last.end);
        }
        self.answer_len = self.answer_len.min(self.text.len());
        self.completion_tokens = self.tokens.len();
        self.end = End::Eos;
    }

    /// The answer with the stop text that ended it.
    pub(crate) fn with_stop(&self) -> &str {
        &self.text
    }

    /// The answer.
    pub(crate) fn text(&self) -> &str {
        &self.text[..self.answer_len]
    }

    /// A token's part of the text.
    pub(crate) fn piece(&self, token: &Token) -> &str {
        &self.text[token.start..token.end]
    }

    /// A token's part of the answer: nothing of the stop text.
    pub(crate) fn answer_piece(&self, token: &Token) -> &str {
        &self.text[token.start.min(self.answer_len)..token.end.min(self.answer_len)]
    }
}

/// Answers a request.
pub(crate) fn say(ask: &Ask<'_>) -> Said {
    let (context, prompt_tokens) = ask.prompt.read();
    let mut text = answer::answer(&ask.prompt.question(), ask.chance());
    let most = ask.max_tokens.unwrap_or(usize::MAX);
    // A token has at most four bytes, so this many are enough.
    while text.len() < ask.min_tokens.min(most).saturating_mul(4) {
        text += &answer::more_words(&text);
    }
    let mut said = Said::of_text(text, "", End::Eos, context, prompt_tokens);
    let stopped = stop_at(&mut said, &ask.stop, ask.stops, ask.min_tokens);
    // Where both apply at the same token, the budget wins (TGI), which no other wire shows.
    if said.tokens.len() > most
        || (said.tokens.len() == most && (ask.stops == Stops::AtEnd || !stopped))
    {
        cut_to_budget(&mut said, most);
    }
    said
}

/// Ends an answer at the first stop text that its tokens complete.
fn stop_at(said: &mut Said, stops: &[Cow<'_, str>], how: Stops, min_tokens: usize) -> bool {
    if stops.is_empty() {
        return false;
    }
    for (at, token) in said.tokens.iter().enumerate() {
        if token.special() || at + 1 < min_tokens {
            continue;
        }
        let so_far = &said.text[..token.end];
        let found =
            stops.iter().enumerate().filter(|(_, stop)| !stop.is_empty()).find_map(|(n, stop)| {
                let start = match how {
                    Stops::AtEnd => so_far.ends_with(&**stop).then(|| so_far.len() - stop.len()),
                    Stops::Within => so_far.find(&**stop),
                };
                start.map(|start| (n, start))
            });
        if let Some((number, start)) = found {
            said.text.truncate(token.end);
            said.tokens.truncate(at + 1);
            said.completion_tokens = at + 1;
            said.answer_len = start;
            said.end = End::Stop(number);
            return true;
        }
    }
    false
}

/// Ends an answer after `most` tokens.
pub(crate) fn cut_to_budget(said: &mut Said, most: usize) {
    said.tokens.truncate(most);
    said.text.truncate(said.tokens.last().map_or(0, |token| token.end));
    said.answer_len = said.text.len();
    said.completion_tokens = said.tokens.len();
    said.end = End::Length;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(prompt: &str) -> Ask<'_> {
        Ask::new(Prompt::Text(prompt.into()))
    }

    fn turn<'a>(role: &'a str, content: &'a str) -> Turn<'a> {
        Turn { role: role.into(), content: content.into() }
    }

    #[test]
    fn the_same_question_has_the_same_answer_as_text_as_chat_and_templated() {
        let question = "Tell me something.";
        let text = say(&ask(question));
        let chat = say(&Ask::new(Prompt::Chat(vec![turn("user", question)])));
        let templated = Prompt::template(&[turn("user", question)]);
        assert_eq!(text.text(), chat.text());
        assert_eq!(text.text(), say(&ask(&templated)).text());

        let turns = [turn("system", "Be brief."), turn("user", question)];
        let templated = Prompt::template(&turns);
        let chat = say(&Ask::new(Prompt::Chat(turns.to_vec())));
        assert_eq!(chat.text(), say(&ask(&templated)).text());
        assert_ne!(chat.text(), text.text());
    }

    #[test]
    fn tokens_cover_the_text_and_an_end_token_closes_it() {
        let said = say(&ask("Tell me something."));
        let joined: String = said.tokens.iter().map(|token| said.piece(token)).collect();
        assert_eq!(joined, said.text());
        assert_eq!(said.end, End::Eos);
        assert!(said.tokens.last().unwrap().special());
        assert!(said.tokens.iter().all(|token| token.logprob() < 0.0));
        assert_eq!(said.completion_tokens, said.tokens.len());
        assert_eq!(say(&ask("")).prompt_tokens, 1);
    }

    #[test]
    fn a_budget_ends_an_answer_and_a_least_number_prolongs_it() {
        let cut = say(&Ask { max_tokens: Some(3), ..ask("Tell me something.") });
        assert_eq!((cut.end, cut.tokens.len()), (End::Length, 3));
        let long = say(&Ask { min_tokens: 200, max_tokens: Some(200), ..ask("Hm") });
        assert_eq!((long.end, long.tokens.len()), (End::Length, 200));
        assert!(say(&Ask { min_tokens: 50, ..ask("Hm") }).tokens.len() >= 50);
        let none = say(&Ask { max_tokens: Some(0), ..ask("Hm") });
        assert_eq!((none.end, none.text()), (End::Length, ""));
    }

    #[test]
    fn a_stop_text_ends_an_answer_and_stays_out_of_it() {
        let whole = say(&ask("What is 17 + 26?\n####"));
        assert_eq!(whole.text(), "17 + 26 = 43.\n#### 43");
        let stop = |stop: &'static str, stops| {
            say(&Ask {
                stop: vec!["unsaid".into(), stop.into()],
                stops,
                ..ask("What is 17 + 26?\n####")
            })
        };
        let said = stop("\n", Stops::Within);
        assert_eq!((said.text(), said.with_stop()), ("17 + 26 = 43.", "17 + 26 = 43.\n"));
        assert_eq!(said.end, End::Stop(1));
        // " 26" is one token, and the stop text ends inside it.
        let said = stop(" 2", Stops::Within);
        assert_eq!((said.text(), said.with_stop()), ("17 +", "17 + 26"));
        let pieces: String = said.tokens.iter().map(|token| said.answer_piece(token)).collect();
        assert_eq!(pieces, "17 +");
        assert_eq!(stop(" 2", Stops::AtEnd).end, End::Eos);
    }

    #[test]
    fn where_budget_and_stop_text_meet_only_tgi_says_length() {
        let said = |stops| {
            let stop = vec![" =".into()];
            // "17", " ", "+", " 26", " ", "="
            say(&Ask { max_tokens: Some(6), stop, stops, ..ask("What is 17 + 26?\n####") }).end
        };
        assert_eq!(said(Stops::AtEnd), End::Length);
        assert_eq!(said(Stops::Within), End::Stop(0));
    }

    #[test]
    fn chance_needs_a_temperature() {
        let sampled = |temperature, seed, choice| {
            let ask = Ask { temperature, seed, choice, ..ask("Tell me something.") };
            say(&ask).text().to_owned()
        };
        let greedy = sampled(None, None, 0);
        assert_eq!(sampled(Some(0.0), Some(3), 0), greedy);
        assert_ne!(sampled(Some(1.0), Some(3), 0), greedy);
        assert_ne!(sampled(Some(1.0), Some(3), 0), sampled(Some(1.0), Some(4), 0));
        assert_ne!(sampled(Some(1.0), Some(3), 0), sampled(Some(1.0), Some(3), 1));
    }
}
