//! The management API of Inference Endpoints: its bodies, its replies, and what a note of a held endpoint says.
//! wire.md 5.4, and the API's client huggingface_hub (`_inference_endpoints.py`, `create_inference_endpoint`).
//!
//! Pure. What is done when is [`crate::life`]'s business.

use std::{borrow::Cow, collections::BTreeMap};

use plugin_api::{Error, ErrorKind, Reply, Result, message::Str};
use serde::{Deserialize, Serialize};
use wire::{object::Object, openai::failure};

use crate::{
    call::with_way_out,
    config::{EndpointType, Instance},
    settings::{Managed, Plan},
};

/// Where an endpoint is in its life. A state of a later version is one that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On its way up: `pending`, `initializing`, `updating`, and whatever is not known.
    Starting,
    /// Up.
    Running,
    /// Down until it is resumed.
    Paused,
    /// Down until a request comes.
    ScaledToZero,
    /// Not coming up: `failed`, `updateFailed`.
    Failed,
}

/// An endpoint as the API describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Where it is in its life.
    pub state: State,
    /// The API's own word for it, and its message if there is one.
    pub said: String,
    /// Where it answers, without a slash at the end.
    pub url: Option<String>,
    /// Where it says that it is ready.
    pub health_route: Option<String>,
    /// The model that it serves.
    pub repository: Option<String>,
    /// The model's revision.
    pub revision: Option<String>,
}

/// What an attempt to create came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// A new endpoint.
    New(Described),
    /// The name is taken: somebody made one since it was looked for.
    Conflict,
}

#[derive(Debug, Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    status: Object<Status<'a>>,
    #[serde(borrow, default)]
    model: Option<Object<Model<'a>>>,
    #[serde(borrow, default, rename = "healthRoute")]
    health_route: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow, default)]
    url: Option<Str<'a>>,
    #[serde(borrow, default)]
    message: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
struct Model<'a> {
    #[serde(borrow, default)]
    repository: Option<Str<'a>>,
    #[serde(borrow, default)]
    revision: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
struct Whoami<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// An endpoint, or none if there is none of that name.
///
/// # Errors
/// What [`refused`] makes of another status; `unexpected_reply` if the shape is not an endpoint's.
pub fn found(reply: &Reply) -> Result<Option<Described>> {
    if reply.status == 404 && !wire::phrases::is_markup(reply.body()) {
        return Ok(None);
    }
    described(reply).map(Some)
}

/// The endpoint that a reply describes.
///
/// # Errors
/// As for [`found`].
pub fn described(reply: &Reply) -> Result<Described> {
    if !reply.is_success() {
        return Err(refused(reply));
    }
    let Object(whole): Object<Whole<'_>> =
        reply.json().map_err(|error| failure::in_body(reply.body()).unwrap_or(error))?;
    let Object(status) = whole.status;
    let state = match &*status.state {
        "running" => State::Running,
        "paused" => State::Paused,
        "scaledToZero" => State::ScaledToZero,
        "failed" | "updateFailed" => State::Failed,
        _ => State::Starting,
    };
    let message = status.message.filter(|message| !message.is_empty());
    let said = match message {
        Some(message) => format!("{}: {}", status.state, &*message),
        None => status.state.into_owned(),
    };
    let some = |text: Option<Str<'_>>| text.map(Str::into_owned).filter(|text| !text.is_empty());
    let (repository, revision) = whole
        .model
        .map_or((None, None), |Object(model)| (some(model.repository), some(model.revision)));
    Ok(Described {
        state,
        said,
        url: some(status.url).map(|url| url.trim_end_matches('/').to_owned()),
        health_route: some(whole.health_route).filter(|route| route.starts_with('/')),
        repository,
        revision,
    })
}

/// What a creation came to.
///
/// # Errors
/// As for [`found`].
pub fn created(reply: &Reply) -> Result<Created> {
    if reply.is_success() {
        return described(reply).map(Created::New);
    }
    let error = refused(reply);
    let taken = reply.status == 409
        || (reply.status == 400 && error.message.to_lowercase().contains("already exist"));
    if taken { Ok(Created::Conflict) } else { Err(error) }
}

/// The failure that a refusal of the management API tells.
pub fn refused(reply: &Reply) -> Error {
    let mut error = failure::of(reply);
    if reply.status == 404 {
        error.kind = ErrorKind::InvalidRequest;
    }
    error.message = format!("the management of endpoints: {}", error.message);
    with_way_out(error)
}

/// The user whose token it is.
///
/// # Errors
/// As for [`found`].
pub fn user(reply: &Reply) -> Result<String> {
    if !reply.is_success() {
        let mut error = failure::of(reply);
        error.message =
            format!("{} (asked for the token's user; `namespace` says it without)", error.message);
        return Err(with_way_out(error));
    }
    let Object(whoami): Object<Whoami<'_>> =
        reply.json().map_err(|error| failure::in_body(reply.body()).unwrap_or(error))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if whoami.name.is_empty() || !whoami.name.chars().all(plain) {
        return Err(Error::unexpected("the token's user has no name that is one")
            .with_excerpt(reply.body()));
    }
    Ok(whoami.name.into_owned())
}

/// Body of a creation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewEndpoint<'a> {
    name: &'a str,
    r#type: EndpointType,
    compute: Compute<'a>,
    model: NewModel<'a>,
    provider: Provider<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Compute<'a> {
    accelerator: &'a str,
    instance_size: &'a str,
    instance_type: &'a str,
    scaling: Scaling,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Scaling {
    min_replica: u32,
    max_replica: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_to_zero_timeout: Option<u32>,
}

#[derive(Debug, Serialize)]
struct NewModel<'a> {
    framework: &'a str,
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    task: &'a str,
    image: Image<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Image<'a> {
    custom: CustomImage<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CustomImage<'a> {
    health_route: &'a str,
    url: &'a str,
}

#[derive(Debug, Serialize)]
struct Provider<'a> {
    region: &'a str,
    vendor: &'a str,
}

/// The body that creates the endpoint on this machine.
pub fn new_endpoint<'a>(
    managed: &'a Managed,
    repository: &'a str,
    instance: &'a Instance,
) -> NewEndpoint<'a> {
    let Plan {
        vendor,
        region,
        accelerator,
        endpoint_type,
        framework,
        task,
        image_url,
        health_route,
        env,
        min_replica,
        max_replica,
        scale_to_zero_timeout,
        instances: _,
    } = &managed.plan;
    NewEndpoint {
        name: &managed.name,
        r#type: *endpoint_type,
        compute: Compute {
            accelerator,
            instance_size: &instance.instance_size,
            instance_type: &instance.instance_type,
            scaling: Scaling {
                min_replica: *min_replica,
                max_replica: *max_replica,
                scale_to_zero_timeout: *scale_to_zero_timeout,
            },
        },
        model: NewModel {
            framework,
            repository,
            revision: managed.revision.as_deref(),
            task,
            image: Image { custom: CustomImage { health_route, url: image_url } },
            env,
        },
        provider: Provider { region, vendor },
    }
}

/// What frees a held endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freeing {
    /// It is paused.
    Pause,
    /// It is scaled to zero, as it was.
    ScaleToZero,
    /// It is deleted: the run made it.
    Delete,
}

impl Freeing {
    /// The last segment of the route; none for a deletion, which is a method of its own.
    pub const fn route(self) -> Option<&'static str> {
        match self {
            Self::Pause => Some("/pause"),
            Self::ScaleToZero => Some("/scale-to-zero"),
            Self::Delete => None,
        }
    }

    /// Whether an endpoint in this state needs no freeing any more.
    pub const fn is_done(self, state: State) -> bool {
        match self {
            Self::Pause => matches!(state, State::Paused),
            Self::ScaleToZero => matches!(state, State::Paused | State::ScaledToZero),
            Self::Delete => false,
        }
    }
}

/// The note of a held endpoint: all that another process needs to free it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whose it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What frees it.
    pub on_finish: Freeing,
    /// The model that it serves. An endpoint of that name with another model is not the one that was noted.
    #[serde(default)]
    pub repository: Option<String>,
}

impl Note {
    /// The name under which the host keeps the note.
    pub fn held_name(&self) -> String {
        held_name(&self.namespace, &self.name)
    }
}

/// The name under which the host keeps the note of an endpoint.
pub fn held_name(namespace: &str, name: &str) -> String {
    format!("endpoint {namespace}/{name}")
}
