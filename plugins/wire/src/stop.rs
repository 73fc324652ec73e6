//! Where an answer ends at a stop text. Some servers leave the stop text in their answers, miss one that is
//! completed in the middle of a token, or take only a few, so plugins cut here.
//!
//! Pure; knows nothing of wire formats.

/// Where the first stop text begins at or after `from`, in bytes.
pub fn find<S: AsRef<str>>(text: &str, from: usize, stops: &[S]) -> Option<usize> {
    let rest = text.get(from..)?;
    stops.iter().filter_map(|stop| rest.find(stop.as_ref())).min().map(|at| from + at)
}

/// Length of the part of `text` that no later text can turn into the beginning of a stop text, in bytes.
/// Everything before `from` is known to be safe.
pub fn safe_len<S: AsRef<str>>(text: &str, from: usize, stops: &[S]) -> usize {
    let longest = stops.iter().map(|stop| stop.as_ref().len()).max().unwrap_or(0);
    let start = from.max((text.len() + 1).saturating_sub(longest));
    text.char_indices()
        .rev()
        .map(|(at, _)| at)
        .take_while(|at| *at >= start)
        .filter(|at| {
            let begins = |tail| stops.iter().any(|stop| stop.as_ref().starts_with(tail));
            text.get(*at..).is_some_and(begins)
        })
        .last()
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_stop_wins_whatever_its_place_in_the_list() {
        for (text, from, stops, at) in [
            ("a\n\nQ:", 0, &["Q:", "\n\n"][..], Some(1)),
            ("abc", 0, &["d"], None),
            ("éa", 0, &["a"], Some(2)),
            ("xx|", 1, &["|"], Some(2)),
            ("", 0, &[], None),
        ] {
            assert_eq!(find(text, from, stops), at, "{text:?}");
        }
    }

    #[test]
    fn what_may_become_a_stop_text_is_held_back() {
        for (text, stops, safe) in [
            ("hello", &["\n\n"][..], 5),
            ("hello\n", &["\n\n"], 5),
            ("he said <|", &["<|end|>", "|"], 8),
            ("aab", &["abc"], 1),
            ("é", &["éé"], 0),
            ("aaa", &["aaaa"], 0),
            ("x", &[], 1),
        ] {
            assert_eq!(safe_len(text, 0, stops), safe, "{text:?} {stops:?}");
        }
    }
}
