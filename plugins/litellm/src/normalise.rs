//! What of a request a provider and a model family do not take (wire.md 4.1, 4.5, 4.7): dropped or changed, each time
//! on record.
//!
//! Pure, and driven by the table of providers: no vendor is named here.

use plugin_api::Changed;
use wire::openai::{Dialect, Parameters};

use crate::{
    parameters::change,
    provider::Provider,
    table::{Budget, Rule},
};

/// Fits parameters and dialect to a provider with the rules of one of its models ([`Provider::for_model`]); `family` is
/// what that is called.
pub fn normalise(
    provider: &Provider,
    family: &str,
    parameters: &mut Parameters,
    dialect: &mut Dialect,
) -> Vec<Changed> {
    let mut changed = Vec::new();
    let reasons = parameters.reasoning_effort.as_deref() != Some("none");
    let rules: Vec<&Rule> =
        provider.rules.iter().filter(|rule| reasons || !rule.while_reasoning).collect();
    for name in &provider.drop {
        drop(parameters, name, &provider.id, &mut changed);
    }
    for rule in &rules {
        for name in &rule.drop {
            drop(parameters, name, family, &mut changed);
        }
        if let Some(only) = rule.temperature {
            only_temperature(parameters, only, family, &mut changed);
        }
    }
    temperature(provider, &rules, parameters, &mut changed);
    alternatives(provider, parameters, &mut changed);
    stop(provider, parameters, &mut changed);
    seed(provider, parameters, &mut changed);
    let budget = rules.iter().filter_map(|rule| rule.budget).next_back().unwrap_or(provider.budget);
    dialect.completion_budget = budget == Budget::MaxCompletionTokens;
    if let Some(role) = rules.iter().find_map(|rule| rule.system_role.clone()) {
        dialect.system_role = Some(role);
    }
    changed
}

fn drop(parameters: &mut Parameters, name: &str, by: &str, changed: &mut Vec<Changed>) {
    if !parameters.drop(name) {
        return;
    }
    changed.push(if name == "stop" {
        change(
            "stop",
            format!("not sent, {by} does not take it; the answer is cut at it all the same"),
        )
    } else {
        change(name, format!("dropped: {by} does not take it"))
    });
}

/// The one temperature that a model takes is its default, so it need not be sent.
fn only_temperature(
    parameters: &mut Parameters,
    only: f64,
    family: &str,
    changed: &mut Vec<Changed>,
) {
    if let Some(wanted) = parameters.temperature.take().filter(|wanted| *wanted != only) {
        let greedy = if wanted == 0.0 { ", so its answers are not greedy" } else { "" };
        changed.push(change(
            "temperature",
            format!("{wanted} dropped: {family} takes {only} alone{greedy}"),
        ));
    }
}

fn temperature(
    provider: &Provider,
    rules: &[&Rule],
    parameters: &mut Parameters,
    changed: &mut Vec<Changed>,
) {
    let Some(wanted) = parameters.temperature else { return };
    let mut now = wanted;
    let most = rules.iter().filter_map(|rule| rule.temperature_max).chain(provider.temperature_max);
    for most in most {
        now = now.min(most);
    }
    if parameters.n.is_some_and(|n| n > 1) {
        for least in rules.iter().filter_map(|rule| rule.temperature_min_with_n) {
            now = now.max(least);
        }
    }
    if now != wanted {
        let why = if now > wanted { "no less for several choices" } else { "no more" };
        changed.push(change(
            "temperature",
            format!("{now} instead of {wanted}: {} takes {why}", provider.id),
        ));
        parameters.temperature = Some(now);
    }
}

fn alternatives(provider: &Provider, parameters: &mut Parameters, changed: &mut Vec<Changed>) {
    if let (Some(most), Some(wanted)) = (provider.logprobs_max, parameters.logprobs)
        && wanted > most
    {
        parameters.logprobs = Some(most);
        changed.push(change(
            "logprobs",
            format!(
                "{most} alternatives a token instead of {wanted}: {} gives no more",
                provider.id
            ),
        ));
    }
}

fn stop(provider: &Provider, parameters: &mut Parameters, changed: &mut Vec<Changed>) {
    let (all, most) = (parameters.stop.len(), provider.stops);
    if all > most {
        parameters.stop.truncate(most);
        changed.push(change(
            "stop",
            format!(
                "only the first {most} of {all} were sent, {} takes no more; the answer is cut at all of \
                 them",
                provider.id
            ),
        ));
    }
}

/// The wire has 63 bits for a seed; some call it otherwise.
fn seed(provider: &Provider, parameters: &mut Parameters, changed: &mut Vec<Changed>) {
    let Some(wanted) = parameters.seed else { return };
    let seed = wanted & i64::MAX.unsigned_abs();
    if seed != wanted {
        parameters.seed = Some(seed);
        changed.push(change("seed", format!("{seed} instead of {wanted}: the wire has 63 bits")));
    }
    if let Some(name) = &provider.seed_name {
        parameters.seed = None;
        parameters.extra.insert(name.clone(), seed.into());
    }
}

/// Servers that fill unset values from the model's own configuration would sample where nobody asked for it.
pub fn say_what_is_unset(parameters: &mut Parameters) {
    parameters.top_p.get_or_insert(1.0);
    parameters.top_k.get_or_insert(-1);
    parameters.min_p.get_or_insert(0.0);
    parameters.repetition_penalty.get_or_insert(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    fn everything() -> Parameters {
        Parameters {
            max_tokens: Some(8),
            temperature: Some(0.0),
            top_p: Some(0.9),
            top_k: Some(5),
            presence_penalty: Some(0.1),
            frequency_penalty: Some(0.1),
            seed: Some(1),
            stop: ["a", "b", "c", "d", "e"].map(str::to_owned).into(),
            logprobs: Some(3),
            ..Parameters::default()
        }
    }

    fn fitted(
        provider: &str,
        model: &str,
        mut parameters: Parameters,
    ) -> (Parameters, Dialect, Vec<String>) {
        let provider =
            Provider::named(&Table::builtin().unwrap(), provider).unwrap().for_model(model);
        let mut dialect = Dialect::default();
        let changed = normalise(&provider, model, &mut parameters, &mut dialect);
        (parameters, dialect, changed.into_iter().map(|change| change.parameter).collect())
    }

    #[test]
    fn each_model_family_gets_what_it_takes_and_the_rest_is_on_record() {
        let penalties = ["presence_penalty", "frequency_penalty"];
        for (provider, model, completion_budget, dropped) in [
            ("openai", "gpt-4o-mini", true, vec!["top_k", "stop"]),
            (
                "openai",
                "o1",
                true,
                [&["top_k", "top_p"], &penalties[..], &["logprobs", "temperature", "stop"]]
                    .concat(),
            ),
            (
                "openai",
                "o3-mini",
                true,
                [&["top_k", "top_p"], &penalties[..], &["logprobs", "temperature", "stop"]]
                    .concat(),
            ),
            (
                "openai",
                "gpt-5-mini",
                true,
                [&["top_k"], &penalties[..], &["stop", "top_p", "logprobs", "temperature"]]
                    .concat(),
            ),
            ("openai", "gpt-5-chat-latest", true, vec!["top_k", "stop"]),
            ("azure", "gpt-4o", false, vec!["top_k", "stop"]),
            (
                "azure",
                "o4-mini",
                true,
                [&["top_k", "top_p"], &penalties[..], &["logprobs", "temperature", "stop"]]
                    .concat(),
            ),
            ("xai", "grok-4", false, vec!["stop", "frequency_penalty"]),
            ("xai", "grok-3-mini", false, vec!["stop"]),
            ("xai", "grok-3", false, vec!["stop"]),
            ("moonshot", "kimi-k2.5", false, vec!["temperature", "stop"]),
            ("moonshot", "moonshot-v1-8k", false, vec!["stop"]),
            ("deepseek", "deepseek-chat", false, vec!["stop"]),
            ("hosted_vllm", "any", false, vec![]),
        ] {
            let (_, dialect, changed) = fitted(provider, model, everything());
            assert_eq!(changed, dropped, "{provider}/{model}");
            assert_eq!(dialect.completion_budget, completion_budget, "{provider}/{model}");
        }
    }

    #[test]
    fn a_stop_text_is_dropped_or_cut_to_four() {
        assert_eq!(fitted("openai", "gpt-4o", everything()).0.stop, ["a", "b", "c", "d"]);
        assert!(fitted("openai", "o3", everything()).0.stop.is_empty());
        assert!(fitted("xai", "grok-4", everything()).0.stop.is_empty());
    }

    #[test]
    fn a_model_that_is_told_not_to_reason_takes_sampling() {
        let parameters = Parameters { reasoning_effort: Some("none".to_owned()), ..everything() };
        let (parameters, _, _) = fitted("openai", "gpt-5", parameters);
        assert_eq!((parameters.temperature, parameters.top_p), (Some(0.0), Some(0.9)));
        assert!(parameters.stop.is_empty());
    }

    #[test]
    fn temperatures_are_held_within_what_is_taken() {
        let with = |temperature: f64, n: u32| Parameters {
            temperature: Some(temperature),
            n: Some(n),
            ..Parameters::default()
        };
        for (provider, model, wanted, n, sent) in [
            ("moonshot", "moonshot-v1-8k", 1.5, 1, Some(1.0)),
            ("moonshot", "moonshot-v1-8k", 0.0, 1, Some(0.0)),
            ("moonshot", "moonshot-v1-8k", 0.0, 2, Some(0.3)),
            ("moonshot", "kimi-k2.5", 1.0, 1, None),
            ("scx-ai", "m", 2.0, 1, Some(1.99)),
            ("groq", "m", 2.0, 1, Some(2.0)),
        ] {
            let (parameters, _, changed) = fitted(provider, model, with(wanted, n));
            assert_eq!(parameters.temperature, sent, "{provider}/{model} {wanted}");
            assert_eq!(changed.is_empty(), sent.is_none_or(|sent| sent == wanted));
        }
    }

    #[test]
    fn a_seed_keeps_63_bits_and_goes_under_its_name() {
        let seed = |seed| Parameters { seed: Some(seed), ..Parameters::default() };
        let (parameters, _, changed) = fitted("openai", "gpt-4o", seed(u64::MAX));
        assert_eq!(
            (parameters.seed, changed),
            (Some(i64::MAX.unsigned_abs()), vec!["seed".to_owned()])
        );
        let (parameters, _, _) = fitted("mistral", "m", seed(7));
        assert_eq!((parameters.seed, &parameters.extra["random_seed"]), (None, &7.into()));
    }

    #[test]
    fn what_a_server_would_fill_in_itself_is_said_and_what_is_set_stays() {
        let mut parameters = Parameters { top_p: Some(0.9), ..Parameters::default() };
        say_what_is_unset(&mut parameters);
        assert_eq!(
            (parameters.top_p, parameters.top_k, parameters.min_p, parameters.repetition_penalty),
            (Some(0.9), Some(-1), Some(0.0), Some(1.0))
        );
    }

    #[test]
    fn the_first_reasoning_models_have_another_role_for_the_system() {
        assert_eq!(
            fitted("openai", "o1", everything()).1.system_role.as_deref(),
            Some("developer")
        );
        assert_eq!(
            fitted("openai", "o1-mini", everything()).1.system_role.as_deref(),
            Some("user")
        );
        assert_eq!(fitted("openai", "o3", everything()).1.system_role, None);
    }
}
