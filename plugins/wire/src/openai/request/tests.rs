//! Requests as they go over the wire.

use serde_json::{Value, json};

use super::*;

fn body(dialect: &Dialect, prompt: &Prompt<'_>, parameters: &Parameters) -> Value {
    serde_json::to_value(Chat::new(dialect, "m", prompt, parameters, false).unwrap()).unwrap()
}

fn with_image() -> Prompt<'static> {
    Prompt::Messages(vec![
        Message::text("system", "be brief"),
        Message {
            role: "user".into(),
            content: vec![
                Part::Text("what is \"this\"?"),
                Part::Image { media_type: "image/png".into(), data: &[0, 255, 1] },
            ],
        },
    ])
}

#[test]
fn a_text_is_a_message_of_the_user_and_nothing_unset_is_sent() {
    assert_eq!(
        body(&Dialect::default(), &Prompt::Text("hi"), &Parameters::default()),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] })
    );
}

#[test]
fn an_image_goes_as_a_data_url_and_text_alone_as_a_string() {
    assert_eq!(
        body(&Dialect::default(), &with_image(), &Parameters::default())["messages"],
        json!([
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": [
                { "type": "text", "text": "what is \"this\"?" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AP8B" } }
            ] }
        ])
    );
}

#[test]
fn strings_alone_cannot_carry_an_image() {
    let flat = Dialect { flatten: true, ..Dialect::default() };
    let prompt = with_image();
    let parameters = Parameters::default();
    assert!(Chat::new(&flat, "m", &prompt, &parameters, false).is_err());
    let two = Message { role: "user".into(), content: vec![Part::Text("a"), Part::Text("b")] };
    let sent = body(&flat, &Prompt::Messages(vec![two]), &parameters);
    assert_eq!(sent["messages"][0]["content"], "ab");
}

#[test]
fn the_dialect_names_the_budget_the_system_role_and_the_prefix() {
    let prompt = Prompt::Messages(vec![
        Message::text("system", "s"),
        Message::text("user", "q"),
        Message::text("assistant", "The answer is"),
    ]);
    let parameters = Parameters { max_tokens: Some(4), ..Parameters::default() };
    let mut dialect = Dialect {
        completion_budget: true,
        system_role: Some("developer".to_owned()),
        prefill: Prefill::Flag("partial".to_owned()),
        ..Dialect::default()
    };
    let sent = body(&dialect, &prompt, &parameters);
    assert_eq!(sent["max_completion_tokens"], 4);
    assert_eq!(sent["messages"][0]["role"], "developer");
    assert_eq!(sent["messages"][2]["partial"], true);
    assert_eq!(sent["messages"][1].get("partial"), None);
    dialect.prefill = Prefill::ContinueFinal;
    let sent = body(&dialect, &prompt, &parameters);
    assert_eq!(
        (&sent["continue_final_message"], &sent["add_generation_prompt"]),
        (&json!(true), &json!(false))
    );
    dialect.prefill = Prefill::AsIs;
    assert!(Chat::new(&dialect, "m", &prompt, &parameters, false).unwrap().prefix_is_a_turn());
}

#[test]
fn every_parameter_is_sent_under_its_name() {
    let parameters = Parameters {
        max_tokens: Some(16),
        temperature: Some(0.5),
        top_p: Some(0.9),
        top_k: Some(-1),
        min_p: Some(0.1),
        presence_penalty: Some(0.2),
        frequency_penalty: Some(0.3),
        repetition_penalty: Some(1.1),
        seed: Some(7),
        stop: vec!["\n".to_owned()],
        n: Some(2),
        logprobs: Some(0),
        reasoning_effort: Some("low".to_owned()),
        extra: serde_json::Map::from_iter([("store".to_owned(), json!(false))]),
    };
    let prompt = Prompt::Text("q");
    let dialect = Dialect { stream_usage: true, ..Dialect::default() };
    let chat = Chat::new(&dialect, "m", &prompt, &parameters, true).unwrap();
    assert_eq!(
        serde_json::to_value(chat).unwrap(),
        json!({
            "model": "m", "messages": [{ "role": "user", "content": "q" }],
            "max_tokens": 16, "logprobs": true, "reasoning_effort": "low",
            "temperature": 0.5, "top_p": 0.9, "top_k": -1, "min_p": 0.1,
            "presence_penalty": 0.2, "frequency_penalty": 0.3, "repetition_penalty": 1.1,
            "seed": 7, "n": 2, "stop": ["\n"], "store": false,
            "stream": true, "stream_options": { "include_usage": true }
        })
    );
    let text =
        Completion { echo: true, ..Completion::new("m", Input::Text("a", "b"), &parameters) };
    let sent = serde_json::to_value(text).unwrap();
    assert_eq!(
        (&sent["prompt"], &sent["logprobs"], &sent["echo"]),
        (&json!("ab"), &json!(1), &json!(true))
    );
    assert_eq!((sent.get("stream"), sent.get("reasoning_effort")), (None, None));
    let ids = Completion {
        prompt_logprobs: Some(0),
        ..Completion::new("m", Input::Ids(&[1, 2]), &parameters)
    };
    let sent = serde_json::to_value(ids).unwrap();
    assert_eq!((&sent["prompt"], &sent["prompt_logprobs"]), (&json!([1, 2]), &json!(0)));
    for (several, expected) in [
        (Input::Texts(&["a", "b"]), json!(["a", "b"])),
        (Input::Lists(&[&[1, 2], &[3]]), json!([[1, 2], [3]])),
    ] {
        let sent = serde_json::to_value(Completion::new("m", several, &parameters)).unwrap();
        assert_eq!(sent["prompt"], expected);
    }
}
