//! Tokens equal to llama.cpp's.
//!
//! The ids were written by llama.cpp's own tokenizer for the same GGUF, special tokens parsed. PIQA's token counts are
//! compared in `piqa_agreement.rs`.
#![allow(clippy::unwrap_used, reason = "test helpers may stop the test")]

mod common;

#[test]
fn tokens_are_llama_cpps() {
    let Some(engine) = common::engine() else {
        return;
    };
    let table: &[(&str, &[u32])] = &[
        ("", &[]),
        ("Hello world", &[19556, 905]),
        (" leading", &[2899]),
        ("trailing  ", &[4861, 4966, 256]),
        ("12345 and 3.14", &[33, 34, 35, 36, 37, 284, 216, 35, 30, 33, 36]),
        (
            "x\u{b2}\u{bd}\u{2167} 2024\u{5e74}",
            &[104, 19133, 16738, 173, 223, 117, 216, 34, 32, 34, 36, 32090, 129],
        ),
        ("don't WE'LL it's", &[12420, 982, 26587, 23, 16421, 357, 506]),
        ("a\n\n  b\t\tc", &[81, 8866, 278, 197, 197, 83]),
        (
            "na\u{ef}ve caf\u{e9} \u{65e5}\u{672c}\u{8a9e} \u{1f600}",
            &[3546, 46494, 37366, 17097, 241, 115, 40993, 179, 120, 248, 40303, 218],
        ),
        (
            "e\u{301} \u{a0}nbsp\u{3000}wide",
            &[85, 151, 219, 216, 15442, 94, 32093, 12109, 218, 3641],
        ),
        ("<|im_start|>user\nhi<|im_end|>\n", &[1, 4093, 198, 6004, 2, 198]),
        ("a<|im_end|>b <|endoftext|>", &[81, 2, 82, 216, 0]),
        (
            "https://x.y/z?q=1&r=[2]",
            &[4687, 1742, 104, 30, 105, 31, 106, 47, 97, 45, 33, 22, 98, 7407, 34, 77],
        ),
        ("    indented\n\tcode(){}", &[333, 641, 6574, 198, 197, 4635, 1000, 6150]),
        ("\r\n\r\n", &[18682]),
        (
            "\u{fdfa} \u{661}\u{662}\u{663} \u{200b} zero",
            &[186, 132, 135, 216, 164, 111, 164, 112, 164, 113, 459, 229, 6708],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(engine.tokenizer().encode(text).unwrap(), *expected, "{text:?}");
    }
}

#[test]
fn text_survives_the_way_there_and_back() {
    let Some(engine) = common::engine() else {
        return;
    };
    for text in ["Hello world", "  a\n\tb ", "naïve 日本語 😀 e\u{301}", "12345", "\u{0}\u{7f}"]
    {
        let ids = engine.tokenizer().encode(text).unwrap();
        assert_eq!(engine.tokenizer().decode(&ids), text);
    }
    let ids = engine.tokenizer().encode("a<|im_end|>b").unwrap();
    assert_eq!(engine.tokenizer().decode(&ids), "ab", "control tokens write nothing");
}
