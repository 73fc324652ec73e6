//! What the model answers: something that an evaluation can grade, as far as the prompt tells what that is.
//!
//! A letter where the prompt offers lettered options, a result where it asks for a sum, a number where it asks how
//! many, words else. It follows from the text alone (and from the seed, if one samples).

use std::fmt::Write;

use super::likelihood::mix;

const WORDS: [&str; 32] = [
    "water", "stone", "light", "paper", "river", "cloud", "glass", "metal", "wood", "sand", "wind",
    "fire", "salt", "rope", "wheel", "door", "clear", "warm", "heavy", "small", "quiet", "round",
    "slow", "deep", "holds", "turns", "moves", "keeps", "takes", "finds", "opens", "makes",
];

/// The answer to a question; `seed` changes it as chance would.
pub(super) fn answer(question: &str, seed: Option<u64>) -> String {
    let question = question.trim();
    let number = hash(question) ^ seed.map_or(0, |seed| mix(seed ^ 0xA5A5));
    let number = mix(number);
    let last = last_paragraph(question);
    let options = options(question);
    if options > 1 {
        let letter = b'A' + u8::try_from(number % options).unwrap_or(0);
        return char::from(letter).to_string();
    }
    if let Some((shown, result)) = arithmetic(last) {
        // A model that is never wrong would hide a grader that never says so.
        let result = if number.is_multiple_of(8) { result + 1 } else { result };
        return stated(question, &format!("{shown} = {result}."), result);
    }
    let lower = last.to_lowercase();
    if lower.contains("how many") || lower.contains("how much") {
        let total = numbers(last).fold(0_i64, i64::saturating_add);
        return stated(question, "Adding them up.", total);
    }
    words(number)
}

/// A number with its working, in GSM8K's form where the prompt shows it.
fn stated(question: &str, working: &str, result: i64) -> String {
    if question.contains("####") { format!("{working}\n#### {result}") } else { result.to_string() }
}

fn words(mut number: u64) -> String {
    let mut text = String::from("The");
    for _ in 0..5 + number % 8 {
        number = mix(number.wrapping_add(1));
        // Writing to a String does not fail.
        let _ = write!(text, " {}", WORDS[(number % WORDS.len() as u64) as usize]);
    }
    text.push('.');
    text
}

/// Words for as long as they are wanted, after an answer that is too short.
pub(super) fn more_words(after: &str) -> String {
    format!(" {}", words(mix(hash(after) ^ after.len() as u64)))
}

/// FNV-1a, eight bytes at a time.
fn hash(text: &str) -> u64 {
    let mut chunks = text.as_bytes().chunks_exact(8);
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        hash = (hash ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(23);
    }
    for byte in chunks.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    hash ^ text.len() as u64
}

/// The last question of a prompt: what follows the last empty line, but never only a cue such as `Answer:`.
fn last_paragraph(question: &str) -> &str {
    let mut end = question.len();
    while let Some(at) = question[..end].rfind("\n\n") {
        let paragraph = question[at..].trim();
        if paragraph.len() > 12 {
            return paragraph;
        }
        end = at;
    }
    question
}

/// How many lettered options the last question offers: `A.`, `A)`, `(A)` or `A:` at the start of lines, one after
/// another, or `A or B` (`A, B or C`) in its last lines.
fn options(question: &str) -> u64 {
    let mut found = 0;
    let mut next = b'A';
    for line in question.lines() {
        match label(line.trim_start()) {
            Some(b'A') => (found, next) = (1, b'B'),
            Some(letter) if letter == next => (found, next) = (found + 1, next + 1),
            _ => {}
        }
    }
    if found > 1 { found } else { offered(question) }
}

/// The letter of an option at the start of a line.
fn label(line: &str) -> Option<u8> {
    match *line.as_bytes() {
        [b'(', letter @ b'A'..=b'Z', b')', ..] => Some(letter),
        [letter @ b'A'..=b'Z', b'.' | b')' | b':', ..] => Some(letter),
        [b'*', b'*', letter @ b'A'..=b'Z', b'.' | b')' | b':' | b'*', ..] => Some(letter),
        _ => None,
    }
}

/// The options of `A or B` or `A, B, C, or D`, the last such words that stand in the question.
fn offered(question: &str) -> u64 {
    let bytes = question.as_bytes();
    let stands_alone = |at: usize| {
        bytes.get(at + 1).is_none_or(|byte| !byte.is_ascii_alphanumeric())
            && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric())
    };
    let words = question.rmatch_indices(" or ").find_map(|(at, or)| {
        let rest = question[at + or.len()..].trim_start_matches(['"', '\'', '`', '(']);
        let letter = question.len() - rest.len();
        let last = *bytes.get(letter)?;
        let before = question[..at].trim_end_matches([',', '"', '\'', '`', ')', ' ']);
        let previous = before.len().checked_sub(1)?;
        let offers = (b'B'..=b'Z').contains(&last)
            && bytes[previous] == last - 1
            && stands_alone(letter)
            && stands_alone(previous);
        offers.then(|| u64::from(last - b'A') + 1)
    });
    words.unwrap_or(0)
}

/// The whole numbers of a text, thousands' commas taken out.
fn numbers(text: &str) -> impl Iterator<Item = i64> {
    text.split(|c: char| !c.is_ascii_digit() && c != ',')
        .filter_map(|run| run.trim_matches(',').replace(',', "").parse().ok())
}

/// The last `a + b` of a text, as it may be shown, and its result. `+ - * x × / ÷` and their English words.
fn arithmetic(text: &str) -> Option<(String, i64)> {
    let mut found = None;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let from = &rest[at..];
        match calculation(from) {
            Some((calculation, length)) => {
                found = Some(calculation);
                rest = &from[length..];
            }
            None => {
                let digits = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
                rest = &from[digits..];
            }
        }
    }
    found
}

/// A calculation at the start of a text, and its length.
fn calculation(text: &str) -> Option<((String, i64), usize)> {
    const SIGNS: [(&str, char); 13] = [
        ("+", '+'),
        ("plus ", '+'),
        ("-", '-'),
        ("−", '-'),
        ("minus ", '-'),
        ("*", '*'),
        ("×", '*'),
        ("x ", '*'),
        ("times ", '*'),
        ("multiplied by ", '*'),
        ("/", '/'),
        ("÷", '/'),
        ("divided by ", '/'),
    ];
    let (mut result, mut rest) = integer(text)?;
    let mut shown = result.to_string();
    let mut terms = 1;
    loop {
        let after = rest.trim_start_matches(' ');
        let Some((sign, operation)) = SIGNS.iter().find(|(sign, _)| after.starts_with(sign)) else {
            break;
        };
        let Some((operand, after)) = integer(after[sign.len()..].trim_start_matches(' ')) else {
            break;
        };
        // From left to right is right for the first two terms, and for sums and products of more.
        if terms > 1 && (shown.contains(['+', '-']) && matches!(operation, '*' | '/')) {
            return None;
        }
        result = match operation {
            '+' => result.checked_add(operand)?,
            '-' => result.checked_sub(operand)?,
            '*' => result.checked_mul(operand)?,
            _ if operand != 0 && result % operand == 0 => result / operand,
            _ => return None,
        };
        let _ = write!(shown, " {operation} {operand}");
        terms += 1;
        rest = after;
    }
    (terms > 1).then(|| ((shown, result), text.len() - rest.len()))
}

fn integer(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lettered_options_are_counted() {
        let table = [
            ("Which?\nA. one\nB. two\nAnswer:", 2),
            ("Which?\n(A) one\n(B) two\n(C) three", 3),
            ("Which?\nA) one\n B) two", 2),
            ("Q1\nA. a\nB. b\nC. c\nAnswer: C\n\nQ2\nA. a\nB. b\nAnswer:", 2),
            ("Answer with A or B.", 2),
            ("Answer with \"A\", \"B\", \"C\", or \"D\".", 4),
            ("Say (A) or (B)", 2),
            ("Cats or dogs?", 0),
            ("Plan A or Beta?", 0),
            ("A. Smith wrote this.", 0),
            ("", 0),
        ];
        for (question, expected) in table {
            assert_eq!(options(question), expected, "{question}");
        }
    }

    #[test]
    fn sums_are_done() {
        let table = [
            ("What is 17 + 25?", Some(42)),
            ("3 times 4", Some(12)),
            ("What is 12 × 3 now", Some(36)),
            ("81 divided by 9?", Some(9)),
            ("100 − 1 =", Some(99)),
            ("7 - 10", Some(-3)),
            ("1 + 2 + 3", Some(6)),
            ("2 + 3 = 5\n4 + 4 =", Some(8)),
            ("7 / 2", None),
            ("In 1990 there were 3 cats", None),
            ("99999999999999999999 + 1", None),
        ];
        for (text, expected) in table {
            assert_eq!(arithmetic(text).map(|(_, result)| result), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_fits_its_question() {
        let letter = answer("Which?\nA. one\nB. two\nAnswer:", None);
        assert!(letter == "A" || letter == "B");
        let right = (0..100)
            .filter(|n| answer(&format!("What is {n} + 25?"), None) == (n + 25).to_string());
        assert!((75..100).contains(&right.count()));
        assert_eq!(
            answer(
                "Q: ...\nA: 1\n#### 1\n\nQ: I have 3 pens and buy 1,004 more. How many pens?\nA:",
                None
            ),
            "Adding them up.\n#### 1007"
        );
        let words = answer("Tell me something.", None);
        assert!(words.starts_with("The ") && words.ends_with('.'), "{words}");
    }

    #[test]
    fn a_seed_changes_the_answer_and_nothing_else_does() {
        let ask = |seed| answer("Tell me something.", seed);
        assert_eq!(ask(None), answer("  Tell me something.\n", None));
        assert_eq!(ask(Some(1)), ask(Some(1)));
        assert_ne!(ask(Some(1)), ask(Some(2)));
        assert_ne!(ask(None), ask(Some(0)));
    }

    #[test]
    fn both_letters_are_answered() {
        let letters: Vec<String> =
            (0..40).map(|n| answer(&format!("Question {n}?\nA. one\nB. two"), None)).collect();
        let a = letters.iter().filter(|letter| *letter == "A").count();
        assert!((10..30).contains(&a), "{a}");
    }
}
