//! Sessions under events at random, sensible and not: no panic of the SDK's own, and nothing leaks.

use serde_json::json;

use crate::{
    alloc::live,
    minihost::{Opened, open, start, table},
    subject::{Subject, generate},
};

/// xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(40)).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    fn event(&mut self) -> (Vec<u8>, Vec<u8>) {
        let call = self.below(4).to_string();
        let body = self.bytes();
        let mut head = match self.below(10) {
            0 => json!({ "reply": { "call": call, "status": self.below(700), "headers": [["a", "b"]] } }),
            1 | 2 => json!({ "reply": { "call": call, "status": 200 } }),
            3 | 4 => json!({ "chunk": { "call": call } }),
            5 => json!({ "end": { "call": call } }),
            6 => json!({ "transport_error": { "call": call, "kind": "odd", "message": "x" } }),
            7 => json!({ "elapsed": { "call": call } }),
            8 => json!({ "woken": {} }),
            _ => json!({ "resumed": {} }),
        }
        .to_string()
        .into_bytes();
        match self.below(12) {
            0 => head = self.bytes(),
            1 => head.truncate(self.below(head.len())),
            2 => {
                let at = self.below(head.len());
                head[at] = u8::try_from(self.below(256)).unwrap();
            }
            _ => {}
        }
        (head, body)
    }
}

const PROMPTS: [&str; 10] = [
    "say:x", "send:x", "join:a,b", "twice", "stream", "collect", "wait", "race", "again:2",
    "fail:odd",
];

fn session(opened: &Opened, random: &mut Random) {
    let mut session = opened.begin();
    let requests: Vec<_> =
        (0..=random.below(3)).map(|_| generate(PROMPTS[random.below(PROMPTS.len())])).collect();
    let (mut head, body) = start(&requests);
    if random.below(10) == 0 {
        head.truncate(random.below(head.len()));
    }
    let status = session.step(head.as_bytes(), &body).status;
    assert!(status == 0 || status == 1);
    for _ in 0..random.below(12) {
        let (head, body) = random.event();
        let step = session.step(&head, &body);
        assert_ne!(
            step.status,
            2,
            "the SDK panicked: {step:?} on {:?}",
            String::from_utf8_lossy(&head)
        );
        for pushed in &step.pushed {
            pushed.brief();
        }
    }
}

#[test]
fn events_at_random_never_panic_and_leave_nothing_behind() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..300 {
        session(&opened, &mut random);
    }
    let before = live();
    for _ in 0..3_000 {
        session(&opened, &mut random);
    }
    let grown = live() - before;
    assert!(grown < 40, "3000 sessions keep {grown} allocations");
}
