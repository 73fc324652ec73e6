//! How a new endpoint is made, out of what is typed: the machine, the image and its environment. Pure.

use std::collections::BTreeMap;

use plugin_api::Result;

use crate::{
    config::{Config, Dtype, Instance},
    resolve::wrong,
    settings::Plan,
};

/// The image of a new endpoint: the last version of TGI that its own README names.
const TGI_IMAGE: &str = "ghcr.io/huggingface/text-generation-inference:3.3.5";

impl Config {
    /// The plan, whether or not it will be needed.
    ///
    /// # Errors
    /// `invalid_request`; the message names the key.
    pub(crate) fn plan(&self) -> Result<Plan> {
        let instances = match (&self.instance_type, &self.instance_size) {
            (Some(instance_type), Some(instance_size)) => {
                let first = Instance {
                    instance_type: instance_type.clone(),
                    instance_size: instance_size.clone(),
                };
                std::iter::once(first).chain(self.fallback_instances.iter().cloned()).collect()
            }
            (None, None) if self.fallback_instances.is_empty() => Vec::new(),
            _ => {
                return Err(wrong(
                    "instance_type and instance_size: expected both, `nvidia-a10g` and `x1` say; \
                     fallback_instances come after them",
                ));
            }
        };
        let image_url = self.image_url.clone().unwrap_or_else(|| TGI_IMAGE.to_owned());
        let is_tgi = image_url.contains("text-generation-inference");
        let mut env = if is_tgi { self.tgi_env() } else { BTreeMap::new() };
        let keys = [
            ("dtype", self.dtype.is_some()),
            ("max_input_length", self.max_input_length.is_some()),
            ("max_total_tokens", self.max_total_tokens.is_some()),
            ("max_batch_prefill_tokens", self.max_batch_prefill_tokens.is_some()),
        ];
        if let (false, Some((key, _))) = (is_tgi, keys.iter().find(|(_, set)| *set)) {
            return Err(wrong(&format!(
                "{key}: is for the image of Text Generation Inference; say it by `env_vars` for another one"
            )));
        }
        env.extend(self.env_vars.clone());
        let (min_replica, max_replica) =
            (self.min_replica.unwrap_or(1), self.max_replica.unwrap_or(1));
        if min_replica > max_replica {
            return Err(wrong("min_replica: expected at most max_replica"));
        }
        let or = |given: &Option<String>, default: &str| {
            given.clone().unwrap_or_else(|| default.to_owned())
        };
        Ok(Plan {
            vendor: or(&self.vendor, "aws"),
            region: or(&self.region, "us-east-1"),
            accelerator: or(&self.accelerator, "gpu"),
            instances,
            endpoint_type: self.endpoint_type.unwrap_or_default(),
            framework: or(&self.framework, "pytorch"),
            task: or(&self.task, "text-generation"),
            image_url,
            health_route: or(&self.health_route, "/health"),
            env,
            min_replica,
            max_replica,
            scale_to_zero_timeout: self.scale_to_zero_timeout,
        })
    }

    /// The environment of TGI's launcher (wire.md 2.9 for the log-probabilities of a prompt, prior-system.md 1.5
    /// for the rest).
    fn tgi_env(&self) -> BTreeMap<String, String> {
        let numbers = [
            ("MAX_INPUT_LENGTH", self.max_input_length),
            ("MAX_TOTAL_TOKENS", self.max_total_tokens),
            ("MAX_BATCH_PREFILL_TOKENS", self.max_batch_prefill_tokens),
        ];
        let numbers = numbers.into_iter().filter_map(|(name, n)| Some((name, n?.to_string())));
        let dtype: &[(&str, &str)] = match self.dtype {
            None => &[],
            Some(Dtype::Float16) => &[("DTYPE", "float16"), ("HF_INFERENCE_PRECISION", "float16")],
            Some(Dtype::Bfloat16) => {
                &[("DTYPE", "bfloat16"), ("HF_INFERENCE_PRECISION", "bfloat16")]
            }
            Some(Dtype::Awq) => &[("QUANTIZE", "awq")],
            Some(Dtype::Eetq) => &[("QUANTIZE", "eetq")],
            Some(Dtype::Gptq) => &[("QUANTIZE", "gptq")],
            Some(Dtype::EightBit) => &[("QUANTIZE", "bitsandbytes")],
            Some(Dtype::FourBit) => &[("QUANTIZE", "bitsandbytes-nf4")],
        };
        let fixed = [("MODEL_ID", "/repository"), ("ENABLE_PREFILL_LOGPROBS", "true")];
        let texts = fixed.iter().chain(dtype).map(|(name, value)| (*name, (*value).to_owned()));
        texts.chain(numbers).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
