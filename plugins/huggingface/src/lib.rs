//! Hugging Face as a plugin: Inference Providers, serverless inference and Inference Endpoints.
