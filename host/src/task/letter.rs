//! Finds which option a reply names.
//!
//! Only labels of the sample itself count: with labels A and B, "I think B" is B. What is looked
//! for, in this order: the last `\boxed{…}`; the last "answer is …"; a reply that is nothing but a
//! label, or a label with its option's text; the last label that stands alone; the text of one
//! option and no other. Words are English (and 答案); a lower-case label counts only where it
//! cannot be a word of a sentence. A label that is denied ("not B", "neither A nor B", "rather
//! than C") is not named.

use super::choices::Choices;

/// The index of the option that a reply names; none when it names none.
#[must_use]
pub fn find_choice(reply: &str, choices: &Choices) -> Option<usize> {
    let candidates = candidates(reply, choices);
    let last =
        |accept: &dyn Fn(&&Candidate) -> bool| candidates.iter().rfind(accept).map(|c| c.option);
    boxed(reply, choices)
        .or_else(|| last(&|c| c.follows_answer && (c.exact || c.enclosed || c.ends_clause)))
        .or_else(|| bare(reply, &choices.labels))
        .or_else(|| label_with_text(reply, choices, &candidates))
        .or_else(|| last(&|c| c.exact || c.enclosed))
        .or_else(|| unique_text(reply, choices))
}

/// A label in a reply that is not part of a longer word.
struct Candidate {
    option: usize,
    start: usize,
    end: usize,
    /// In the label's own case, and not likely the article "A" or the pronoun "I".
    exact: bool,
    /// In brackets, or before a bracket or point at the start of a line.
    enclosed: bool,
    /// At the end of a line, or before punctuation.
    ends_clause: bool,
    /// Right after "answer is" and the like.
    follows_answer: bool,
}

fn candidates(reply: &str, choices: &Choices) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut previous = None;
    for (start, c) in reply.char_indices() {
        let inside_word = previous.is_some_and(is_word);
        previous = Some(c);
        if inside_word {
            continue;
        }
        // The longest label that fits, so that "AB" is not taken for "A".
        let fitting = |label: &String| {
            let text = reply.get(start..start + label.len())?;
            (same(text, label) && stands_alone(reply, start, start + label.len(), label))
                .then_some(text)
        };
        let best = choices
            .labels
            .iter()
            .enumerate()
            .filter_map(|(option, label)| fitting(label).map(|text| (option, label, text)))
            .max_by_key(|(_, label, text)| (label.len(), *text == label.as_str()));
        if let Some((option, label, text)) = best
            && !is_denied(&reply[..start])
        {
            found.push(Candidate::new(reply, start, option, label, text));
        }
    }
    found
}

impl Candidate {
    fn new(reply: &str, start: usize, option: usize, label: &str, text: &str) -> Self {
        let end = start + text.len();
        let (before, after) = (&reply[..start], &reply[end..]);
        let next = after.chars().next();
        let opened = before.trim_end().ends_with(['(', '[', '{']);
        let closed = next.is_some_and(|c| matches!(c, ')' | ']' | '}'));
        let line_so_far = before.trim_end_matches(|c| c != '\n' && is_markup(c));
        let starts_line = line_so_far.is_empty() || line_so_far.ends_with('\n');
        let single_letter = label.chars().count() == 1 && label.chars().all(char::is_alphabetic);
        Self {
            option,
            start,
            end,
            exact: if single_letter {
                text == label && !is_english_word(text, after)
            } else {
                true
            },
            enclosed: (opened && closed)
                || (starts_line
                    && (closed || (next == Some('.') && !after[1..].trim().is_empty()))),
            ends_clause: next.is_none_or(|c| !c.is_whitespace() || c == '\n')
                || after.trim().is_empty(),
            follows_answer: follows_answer(before),
        }
    }
}

fn same(text: &str, label: &str) -> bool {
    text == label || text.to_lowercase() == label.to_lowercase()
}

/// A character that makes a longer word of a label beside it. Scripts that write without spaces
/// between words do not.
fn is_word(c: char) -> bool {
    let unspaced = matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{2e80}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}');
    (c.is_alphanumeric() || c == '_') && !unspaced
}

fn is_markup(c: char) -> bool {
    c.is_whitespace() || "*_`\"'“”‘’#>$-".contains(c)
}

fn stands_alone(reply: &str, start: usize, end: usize, label: &str) -> bool {
    let mut after = reply[end..].chars();
    let (next, second) = (after.next(), after.next());
    if next.is_some_and(is_word) {
        return false;
    }
    let joined_after = matches!(next, Some('-' | '\'' | '’')) && second.is_some_and(is_word);
    let mut before = reply[..start].chars().rev();
    let (previous, earlier) = (before.next(), before.next());
    let joined_before = matches!(previous, Some('-' | '\'' | '’')) && earlier.is_some_and(is_word);
    let numeric = label.ends_with(|c: char| c.is_ascii_digit());
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let part_of_number = numeric
        && ((matches!(next, Some('.' | ',')) && digit(second))
            || next == Some('%')
            || (matches!(previous, Some('.' | ',')) && digit(earlier))
            || matches!(previous, Some('-' | '\u{2212}' | '$')));
    !joined_after && !joined_before && !part_of_number
}

/// Whether "A" or "I" before a lower-case word is rather an article or a pronoun. "A is right" is not.
fn is_english_word(label: &str, after: &str) -> bool {
    const OF_AN_OPTION: [&str; 8] =
        ["is", "because", "since", "as", "seems", "looks", "makes", "has"];
    const AFTER_A: [&str; 7] = ["was", "would", "and", "or", "but", "over", "rather"];
    let Some(rest) = after.strip_prefix(' ') else {
        return false;
    };
    let word: String = rest.chars().take_while(|c| c.is_alphabetic()).collect();
    if !word.starts_with(char::is_lowercase) || OF_AN_OPTION.contains(&word.as_str()) {
        return false;
    }
    match label {
        "A" | "a" => !AFTER_A.contains(&word.as_str()),
        "I" | "i" => true,
        _ => false,
    }
}

/// Whether a text ends in "not", "neither", "isn't", "rather than" and the like, with whatever markup and noun. What
/// is "none other than" a label is that label.
fn is_denied(before: &str) -> bool {
    let lower = tail(before).to_lowercase();
    let mut rest = without_opening(&lower);
    for word in ["option", "choice", "letter", "answer", "the", "be"] {
        rest = strip_word(rest, word).map_or(rest, without_opening);
    }
    if let Some(compared) = strip_word(rest, "than") {
        return strip_word(compared.trim_end(), "other").is_none();
    }
    ["not", "neither", "nor", "cannot"].iter().any(|word| strip_word(rest, word).is_some())
        || rest.ends_with("n't")
        || rest.ends_with("n’t")
}

/// The end of a text: enough for the longest phrase, and the search stays linear in the reply.
fn tail(text: &str) -> &str {
    text.char_indices().rev().nth(79).map_or(text, |(at, _)| &text[at..])
}

/// What may stand between a phrase and the label after it.
fn is_opening(c: char) -> bool {
    is_markup(c) || "([{<\\".contains(c)
}

fn without_opening(text: &str) -> &str {
    text.trim_end_matches(is_opening)
}

/// Whether a text ends in "answer is", "correct option:" and the like, with whatever markup.
fn follows_answer(before: &str) -> bool {
    let lower = tail(before).to_lowercase();
    let mut rest = without_opening(&lower);
    for command in ["text", "mathrm", "textbf", "mathbf"] {
        rest = rest.strip_suffix(command).map_or(rest, without_opening);
    }
    for noun in ["option", "choice", "letter"] {
        rest = strip_word(rest, noun).map_or(rest, without_opening);
    }
    let mut linked = false;
    loop {
        rest = rest.trim_end_matches(|c: char| is_opening(c) || c == ')');
        let signs = [":", "：", "=", "->", "→", "是", "为", "為"];
        let words = ["is", "was", "be", "would", "should", "must"];
        let cut = signs
            .iter()
            .find_map(|sign| rest.strip_suffix(sign))
            .or_else(|| words.iter().find_map(|word| strip_word(rest, word)));
        match cut {
            Some(cut) => (rest, linked) = (cut, true),
            None => break,
        }
    }
    if !linked {
        return false;
    }
    if rest.ends_with("答案") || strip_word(rest, "answer").is_some() {
        return true;
    }
    let noun = ["option", "choice", "one"].iter().find_map(|noun| strip_word(rest, noun));
    let praise = ["correct", "best", "right"];
    noun.is_some_and(|rest| praise.iter().any(|word| strip_word(rest.trim_end(), word).is_some()))
}

/// `text` without a whole word at its end.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let cut = text.strip_suffix(word)?;
    (!cut.ends_with(is_word)).then_some(cut)
}

fn index_of(text: &str, labels: &[String]) -> Option<usize> {
    labels
        .iter()
        .position(|label| label == text)
        .or_else(|| labels.iter().position(|label| same(text, label)))
}

/// The label, or the whole text of an option, in the last `\boxed{…}`.
fn boxed(reply: &str, choices: &Choices) -> Option<usize> {
    const OPEN: &str = "\\boxed{";
    let content = &reply[reply.rfind(OPEN)? + OPEN.len()..];
    let mut depth = 1;
    let end = content.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        (depth == 0).then_some(at)
    })?;
    let mut inner = content[..end].trim();
    for command in ["\\text", "\\mathrm", "\\textbf", "\\mathbf"] {
        let unwrapped =
            inner.strip_prefix(command).and_then(|rest| rest.strip_prefix('{')?.strip_suffix('}'));
        inner = unwrapped.unwrap_or(inner).trim();
    }
    bare(inner, &choices.labels)
        .or_else(|| choices.texts.iter().position(|text| same(text.trim(), inner)))
}

/// The label that a text consists of, with any punctuation around it.
fn bare(text: &str, labels: &[String]) -> Option<usize> {
    index_of(text.trim(), labels)
        .or_else(|| index_of(text.trim_matches(|c: char| !c.is_alphanumeric()), labels))
}

/// A label at the start that is followed by the text of its own option.
fn label_with_text(reply: &str, choices: &Choices, candidates: &[Candidate]) -> Option<usize> {
    let first = candidates.first()?;
    if reply[..first.start].contains(is_word) {
        return None;
    }
    let rest = reply[first.end..].trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let text = choices.texts[first.option].to_lowercase();
    let text = text.trim_matches(|c: char| !c.is_alphanumeric());
    (!text.is_empty() && rest.starts_with(text)).then_some(first.option)
}

/// The only option whose text the reply has. A text inside a longer option's text does not count.
fn unique_text(reply: &str, choices: &Choices) -> Option<usize> {
    let mut rest = reply.to_lowercase();
    let mut texts: Vec<(usize, String)> =
        choices.texts.iter().map(|text| text.trim().to_lowercase()).enumerate().collect();
    texts.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
    let mut found = None;
    for (option, text) in texts {
        if text.is_empty() || !contains_whole(&rest, &text) {
            continue;
        }
        if found.is_some() {
            return None;
        }
        found = Some(option);
        rest = rest.replace(&text, "\u{0}");
    }
    found
}

fn contains_whole(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(at, _)| {
        let starts = !(part.starts_with(is_word) && text[..at].ends_with(is_word));
        let ends = !(part.ends_with(is_word) && text[at + part.len()..].starts_with(is_word));
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(reply: &str, labels: &[&str], texts: &[&str]) -> Option<String> {
        let own = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let choices = Choices { texts: own(texts), labels: own(labels) };
        find_choice(reply, &choices).map(|index| choices.labels[index].clone())
    }

    #[test]
    fn vector_v6() {
        let table = [
            ("I think B", Some("B")),
            ("A good answer is B", Some("B")),
            ("(b).", Some("B")),
            (r"\boxed{A} … B", Some("A")),
            ("Neither", None),
        ];
        for (reply, expected) in table {
            assert_eq!(
                find(reply, &["A", "B"], &["replace drawer", "woodgrain"]).as_deref(),
                expected,
                "{reply}"
            );
        }
    }

    #[test]
    fn letters_are_found_where_models_put_them() {
        let table = [
            ("B", Some("B")),
            (" b\n", Some("B")),
            ("**C**", Some("C")),
            ("Answer: C", Some("C")),
            ("The answer is (D).", Some("D")),
            ("the correct answer is: **b**", Some("B")),
            ("The answer is b because B and C are metals", Some("C")),
            ("The best option is D, not A.", Some("D")),
            ("Final answer: Option C", Some("C")),
            ("Answer: A\n\nB is wrong because it rusts.", Some("A")),
            (r"so $\boxed{\text{D}}$. A was close", Some("D")),
            (r"\boxed{7} hence B", Some("B")),
            ("答案是C", Some("C")),
            ("答案：B。", Some("B")),
            ("B. A paint brush", Some("B")),
            ("C) iron", Some("C")),
            ("A is right", Some("A")),
            ("A good question; it is hard to say.", None),
            ("I would pick one at random", None),
            ("Dr. D's vitamin-C is unrelated", None),
            ("The answer is a mystery", None),
            ("b) seems best", Some("B")),
            ("It must be iron.", Some("C")),
            ("It is iron ore or iron", None),
            ("gold or iron", None),
            ("E", None),
            ("", None),
            ("Neither A nor B.", None),
            ("Neither A nor B, so C", Some("C")),
            ("I'd say C, not B", Some("C")),
            ("C rather than **B**", Some("C")),
            ("C; it can't be option (D)", Some("C")),
            ("The answer is not B", None),
            ("Do the knot: B", Some("B")),
            ("It is none other than B", Some("B")),
        ];
        for (reply, expected) in table {
            let texts = ["gold", "a paint brush", "iron", "iron ore"];
            assert_eq!(find(reply, &["A", "B", "C", "D"], &texts).as_deref(), expected, "{reply}");
        }
    }

    #[test]
    fn an_article_is_no_option_in_either_case() {
        for (labels, right) in [(["A", "B", "C"], "B"), (["a", "b", "c"], "b")] {
            for reply in [
                "B is a metal, so it conducts.",
                "B) is right, since it is a conductor",
                "The capital is B, which is a city.",
                "(B) because iron is a good conductor",
                "**B** - it is a metal",
            ] {
                let reply = if right == "b" { reply.replace('B', "b") } else { reply.to_owned() };
                let found = find(&reply, &labels, &["wood", "iron", "glass"]);
                assert_eq!(found.as_deref(), Some(right), "{reply}");
            }
        }
        assert_eq!(find("It is a.", &["a", "b"], &["x", "y"]).as_deref(), Some("a"));
    }

    #[test]
    fn other_labels_work_too() {
        let digits = ["1", "2", "3"];
        let texts = ["x", "y", "z"];
        assert_eq!(find("Option 2", &digits, &texts).as_deref(), Some("2"));
        assert_eq!(find("The answer is 3, as 1.5 > 1.2", &digits, &texts).as_deref(), Some("3"));
        assert_eq!(find("about 2.5 or -1", &digits, &texts), None);
        assert_eq!(find("Well, no.", &["yes", "no"], &texts[..2]).as_deref(), Some("no"));
        assert_eq!(find("I know nothing", &["yes", "no"], &texts[..2]), None);
        assert_eq!(find("AB", &["A", "AB"], &texts[..2]).as_deref(), Some("AB"));
    }
}
