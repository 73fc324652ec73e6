//! The management of Inference Endpoints: `/v2/endpoint/{namespace}[/{name}[/pause|resume|scale-to-zero]]`.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{
    endpoints::{Endpoint, NotCreated, Phase},
    error,
};
use crate::mock::{
    exchange::{Answer, Asked},
    flavors::text::Text,
    server::Mock,
    strict,
};

/// What an endpoint shall be. A change has only what changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    compute: Option<Compute<'a>>,
    #[serde(borrow, default)]
    model: Option<Model<'a>>,
    #[serde(borrow, default)]
    provider: Option<Provider<'a>>,
    #[serde(rename = "tags", default)]
    _tags: Option<Vec<IgnoredAny>>,
    #[serde(rename = "cacheHttpResponses", default)]
    _cache_http_responses: Option<bool>,
    #[serde(rename = "experimentalFeatures", default)]
    _experimental_features: Option<IgnoredAny>,
    #[serde(rename = "route", default)]
    _route: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Compute<'a> {
    #[serde(borrow, default)]
    accelerator: Option<Text<'a>>,
    #[serde(borrow, default)]
    instance_size: Option<Text<'a>>,
    #[serde(borrow, default)]
    instance_type: Option<Text<'a>>,
    #[serde(default)]
    scaling: Option<Scaling>,
    #[serde(borrow, rename = "id", default)]
    _id: Option<Text<'a>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scaling {
    #[serde(default)]
    min_replica: Option<u32>,
    #[serde(default)]
    max_replica: Option<u32>,
    #[serde(rename = "scaleToZeroTimeout", default)]
    _scale_to_zero_timeout: Option<u32>,
    #[serde(rename = "metric", default)]
    _metric: Option<IgnoredAny>,
    #[serde(rename = "threshold", default)]
    _threshold: Option<f64>,
    #[serde(rename = "measure", default)]
    _measure: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Model<'a> {
    #[serde(borrow, default)]
    repository: Option<Text<'a>>,
    #[serde(borrow, default)]
    framework: Option<Text<'a>>,
    #[serde(default)]
    image: Option<Map<String, Value>>,
    #[serde(borrow, rename = "revision", default)]
    _revision: Option<Text<'a>>,
    #[serde(borrow, rename = "task", default)]
    _task: Option<Text<'a>>,
    #[serde(rename = "env", default)]
    _env: Option<Map<String, Value>>,
    #[serde(rename = "secrets", default)]
    _secrets: Option<Map<String, Value>>,
    #[serde(rename = "args", default)]
    _args: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Provider<'a> {
    #[serde(borrow, default)]
    vendor: Option<Text<'a>>,
    #[serde(borrow, default)]
    region: Option<Text<'a>>,
}

/// Answers a request for what is below `/v2/endpoint/`.
pub(super) fn answer(rest: &str, asked: &Asked<'_>, mock: &Mock) -> Answer {
    let mut parts = rest.trim_end_matches('/').split('/');
    let (namespace, name, action) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    if namespace.is_empty() || parts.next().is_some() {
        return error(404, "Not Found");
    }
    let result = match (asked.method.as_str(), name, action) {
        ("POST", None, None) => create(namespace, asked, mock),
        ("GET", None, None) => Ok(list(namespace, asked, mock)),
        ("GET", Some(name), None) => change(namespace, name, asked, mock, |_| Ok(())),
        ("PUT", Some(name), None) => update(namespace, name, asked, mock),
        ("DELETE", Some(name), None) => delete(namespace, name, mock),
        ("POST", Some(name), Some("pause")) => change(namespace, name, asked, mock, |endpoint| {
            endpoint.phase = Phase::Paused;
            Ok(())
        }),
        ("POST", Some(name), Some("scale-to-zero")) => {
            change(namespace, name, asked, mock, |endpoint| {
                if endpoint.phase == Phase::Paused {
                    return Err(error(400, "Cannot scale a paused endpoint"));
                }
                endpoint.phase = Phase::ScaledToZero;
                Ok(())
            })
        }
        ("POST", Some(name), Some("resume")) => change(namespace, name, asked, mock, |endpoint| {
            let state = endpoint.state(mock.up(), mock.settings.endpoint_start);
            if !matches!(state, "paused" | "scaledToZero" | "failed") {
                return Err(error(400, "Endpoint is already running"));
            }
            endpoint.phase = Phase::Woken(mock.up());
            Ok(())
        }),
        (_, None, None) | (_, Some(_), None) => Err(error(405, "Method Not Allowed")),
        _ => Err(error(404, "Not Found")),
    };
    result.unwrap_or_else(|refusal| refusal)
}

fn not_found(name: &str) -> Answer {
    error(404, &format!("Endpoint {name} not found"))
}

fn shown(endpoint: &Endpoint, asked: &Asked<'_>, mock: &Mock) -> Value {
    let host = asked.header("host").unwrap_or("localhost");
    endpoint.shown(mock.up(), mock.settings.endpoint_start, host)
}

fn list(namespace: &str, asked: &Asked<'_>, mock: &Mock) -> Answer {
    let all = mock.endpoints.of(namespace);
    let items: Vec<Value> = all.iter().map(|endpoint| shown(endpoint, asked, mock)).collect();
    Answer::json(200, &json!({ "items": items }))
}

/// Changes one and shows it.
fn change(
    namespace: &str,
    name: &str,
    asked: &Asked<'_>,
    mock: &Mock,
    act: impl FnOnce(&mut Endpoint) -> Result<(), Answer>,
) -> Result<Answer, Answer> {
    let changed = mock.endpoints.with(namespace, name, |endpoint| {
        act(endpoint).map(|()| Answer::json(200, &shown(endpoint, asked, mock)))
    });
    changed.unwrap_or_else(|| Err(not_found(name)))
}

fn create(namespace: &str, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    let (read, spec) = spec(asked)?;
    let name = read.name.as_deref().ok_or_else(|| missing("name"))?.to_owned();
    let fits =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fits || !(4..=32).contains(&name.len()) || name.starts_with('-') || name.ends_with('-') {
        return Err(error(
            400,
            "name: expected 4 to 32 lower-case letters, digits and hyphens, no hyphen at either end",
        ));
    }
    read.check_complete()?;
    let phase = Phase::Created(mock.up());
    let endpoint = Endpoint { namespace: namespace.to_owned(), name: name.clone(), spec, phase };
    let reply = shown(&endpoint, asked, mock);
    match mock.endpoints.create(endpoint) {
        Ok(()) => Ok(Answer::json(202, &reply)),
        Err(NotCreated::Exists) => Err(error(409, &format!("Endpoint {name} already exists"))),
        Err(NotCreated::TooMany) => Err(error(403, "Quota exceeded: too many endpoints")),
    }
}

fn update(namespace: &str, name: &str, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    let (read, spec) = spec(asked)?;
    if read.name.is_some() {
        return Err(error(400, "name: cannot be changed"));
    }
    change(namespace, name, asked, mock, |endpoint| {
        merge(&mut endpoint.spec, spec);
        if !matches!(endpoint.phase, Phase::Paused | Phase::ScaledToZero) {
            endpoint.phase = Phase::Updated(mock.up());
        }
        Ok(())
    })
}

fn delete(namespace: &str, name: &str, mock: &Mock) -> Result<Answer, Answer> {
    if mock.endpoints.delete(namespace, name) {
        Ok(Answer::json(202, &json!({})))
    } else {
        Err(not_found(name))
    }
}

/// Puts what changes over what was; objects field by field.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                merge(old.entry(name).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new,
    }
}

fn missing(path: &str) -> Answer {
    error(400, &format!("missing field `{path}`"))
}

/// The body, read and as it stands. Secrets do not come back.
fn spec<'a>(asked: &Asked<'a>) -> Result<(Spec<'a>, Value), Answer> {
    if !asked.is_json() {
        return Err(error(415, "expected content-type: application/json"));
    }
    let read: Spec<'_> = strict::read(asked.body).map_err(|misfit| {
        error(400, format!("{}: {}", misfit.path(), misfit.message()).trim_start_matches(": "))
    })?;
    read.check()?;
    let mut spec: Value = serde_json::from_slice(asked.body).unwrap_or_default();
    if let Some(model) = spec.get_mut("model").and_then(Value::as_object_mut) {
        model.remove("secrets");
    }
    Ok((read, spec))
}

impl Spec<'_> {
    /// Checks what is there.
    fn check(&self) -> Result<(), Answer> {
        let one_of = |path: &str, value: Option<&str>, known: &[&str]| match value {
            Some(value) if !known.contains(&value) => Err(error(
                400,
                &format!("{path}: unknown variant `{value}`, expected one of {}", known.join(", ")),
            )),
            _ => Ok(()),
        };
        let kinds = ["public", "authenticated", "private", "protected"];
        one_of("type", self.kind.as_deref(), &kinds)?;
        if let Some(compute) = &self.compute {
            let accelerators = ["cpu", "gpu", "neuron", "tpu", "hpu"];
            one_of("compute.accelerator", compute.accelerator.as_deref(), &accelerators)?;
            if let Some(Scaling { min_replica: Some(least), max_replica: Some(most), .. }) =
                compute.scaling
                && least > most
            {
                return Err(error(400, "compute.scaling: minReplica must not exceed maxReplica"));
            }
        }
        if let Some(model) = &self.model {
            let frameworks = ["custom", "pytorch", "llamacpp"];
            one_of("model.framework", model.framework.as_deref(), &frameworks)?;
            if let Some(image) = &model.image
                && image.len() != 1
            {
                return Err(error(400, "model.image: expected exactly one kind of image"));
            }
        }
        if let Some(provider) = &self.provider {
            one_of("provider.vendor", provider.vendor.as_deref(), &["aws", "azure", "gcp"])?;
        }
        Ok(())
    }

    /// Checks that nothing is missing.
    fn check_complete(&self) -> Result<(), Answer> {
        let compute = self.compute.as_ref();
        let scaling = compute.and_then(|compute| compute.scaling);
        let model = self.model.as_ref();
        let provider = self.provider.as_ref();
        let required = [
            ("type", self.kind.is_some()),
            ("compute.accelerator", compute.is_some_and(|c| c.accelerator.is_some())),
            ("compute.instanceSize", compute.is_some_and(|c| c.instance_size.is_some())),
            ("compute.instanceType", compute.is_some_and(|c| c.instance_type.is_some())),
            ("compute.scaling.minReplica", scaling.is_some_and(|s| s.min_replica.is_some())),
            ("compute.scaling.maxReplica", scaling.is_some_and(|s| s.max_replica.is_some())),
            ("model.repository", model.is_some_and(|m| m.repository.is_some())),
            ("model.framework", model.is_some_and(|m| m.framework.is_some())),
            ("model.image", model.is_some_and(|m| m.image.is_some())),
            ("provider.vendor", provider.is_some_and(|p| p.vendor.is_some())),
            ("provider.region", provider.is_some_and(|p| p.region.is_some())),
        ];
        match required.into_iter().find(|(_, present)| !present) {
            Some((path, _)) => Err(missing(path)),
            None => Ok(()),
        }
    }
}
