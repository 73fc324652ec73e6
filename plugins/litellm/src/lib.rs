//! Many vendors in one plugin, named provider/model as LiteLLM users write it.
