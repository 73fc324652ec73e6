//! Patterns of names: `*` stands for any text, `?` for one character, anything else for itself.

/// Whether the whole of a text is as the pattern says.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // After the last star, and where its text ends so far.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((after, end)) => {
                    *end += 1;
                    (p, t) = (*after, *end);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        let table = [
            ("llama--piqa", "llama--piqa", true),
            ("llama", "llama--piqa", false),
            ("llama*", "llama--piqa", true),
            ("*piqa", "llama--piqa", true),
            ("*a*a", "llama--piqa", true),
            ("l?ama-*", "llama--piqa", true),
            ("?", "", false),
            ("*", "", true),
            ("**", "ü", true),
            ("?", "ü", true),
            ("a*b*c", "abxbyc", true),
            ("a*b*c", "abxby", false),
            ("[a]", "a", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} of {text}");
        }
    }
}
