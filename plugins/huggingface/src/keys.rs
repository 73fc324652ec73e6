//! Which keys are of use in which mode. One that is not is refused by name, because it would be silently without
//! effect. Pure.

use plugin_api::Result;

use crate::{
    config::{Config, Mode},
    resolve::wrong,
};

impl Config {
    /// Refuses what the chosen mode has no use for.
    ///
    /// # Errors
    /// `invalid_request`; the message names the key and the mode that it is for.
    pub(crate) fn refuse_keys_of_other_modes(&self) -> Result<()> {
        let router = [("provider", self.provider.is_some()), ("bill_to", self.bill_to.is_some())];
        let serverless = [
            ("wait_for_model", self.wait_for_model.is_some()),
            ("use_cache", self.use_cache.is_some()),
            ("max_loading_wait", self.max_loading_wait.is_some()),
        ];
        let endpoint = [
            ("name", self.name.is_some()),
            ("engine", self.engine.is_some()),
            ("health_route", self.health_route.is_some()),
            ("scale_up_timeout", self.scale_up_timeout.is_some()),
            ("wait_timeout", self.wait_timeout.is_some()),
            ("poll_interval", self.poll_interval.is_some()),
        ];
        let text = [
            ("typical_p", self.typical_p.is_some()),
            ("truncate", self.truncate.is_some()),
            ("watermark", self.watermark.is_some()),
            ("adapter_id", self.adapter_id.is_some()),
            ("details", self.details.is_some()),
        ];
        let chat = [
            ("presence_penalty", self.presence_penalty.is_some()),
            ("min_p", self.min_p.is_some()),
            ("reasoning_effort", self.reasoning_effort.is_some()),
            ("extra_body", !self.extra_body.is_empty()),
            ("separate_choices", self.separate_choices.is_some()),
        ];
        let management = self.keys_of_management();
        // An endpoint may turn out to be of either kind, so it takes the values of both.
        let refused: [(&[(&str, bool)], &str); 4] = match self.mode {
            Mode::Router => [
                (&serverless, "serverless"),
                (&endpoint, "endpoint"),
                (&management, "endpoint"),
                (&text, "serverless\" or \"endpoint"),
            ],
            Mode::Serverless => [
                (&router, "router"),
                (&endpoint, "endpoint"),
                (&management, "endpoint"),
                (&chat, "router\" or \"endpoint"),
            ],
            Mode::Endpoint => {
                [(&router, "router"), (&serverless, "serverless"), (&[], ""), (&[], "")]
            }
        };
        for (keys, home) in refused {
            if let Some((key, _)) = keys.iter().find(|(_, set)| *set) {
                let mode = self.mode.as_str();
                return Err(wrong(&format!(
                    "{key}: has no effect with mode = \"{mode}\"; it is for mode = \"{home}\""
                )));
            }
        }
        Ok(())
    }

    /// The keys that mean the management API, and whether they are set.
    pub(crate) fn keys_of_management(&self) -> [(&'static str, bool); 23] {
        [
            ("namespace", self.namespace.is_some()),
            ("reuse_existing", self.reuse_existing.is_some()),
            ("auto_start", self.auto_start.is_some()),
            ("on_finish", self.on_finish.is_some()),
            ("vendor", self.vendor.is_some()),
            ("region", self.region.is_some()),
            ("accelerator", self.accelerator.is_some()),
            ("instance_type", self.instance_type.is_some()),
            ("instance_size", self.instance_size.is_some()),
            ("fallback_instances", !self.fallback_instances.is_empty()),
            ("endpoint_type", self.endpoint_type.is_some()),
            ("revision", self.revision.is_some()),
            ("framework", self.framework.is_some()),
            ("task", self.task.is_some()),
            ("image_url", self.image_url.is_some()),
            ("dtype", self.dtype.is_some()),
            ("max_input_length", self.max_input_length.is_some()),
            ("max_total_tokens", self.max_total_tokens.is_some()),
            ("max_batch_prefill_tokens", self.max_batch_prefill_tokens.is_some()),
            ("env_vars", !self.env_vars.is_empty()),
            ("min_replica", self.min_replica.is_some()),
            ("max_replica", self.max_replica.is_some()),
            ("scale_to_zero_timeout", self.scale_to_zero_timeout.is_some()),
        ]
    }
}
