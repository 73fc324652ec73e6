//! Typed access to one GGUF file.
//!
//! The only module that knows candle's file reader. It turns "key missing", "key of another type" and "tensor
//! missing" into errors that name the key and the file's expected content.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{Content, Value};

use crate::matrix::Matrix;

/// Why a model file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be opened.
    #[error("failed to open the model file {path}: {source}; set the path of a GGUF file")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is no GGUF, or is cut short.
    #[error("failed to read {path} as GGUF: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: candle_core::Error,
    },
    /// A metadata key is missing.
    #[error("the GGUF has no metadata key `{key}`, which a Llama-architecture model needs")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata key holds another type.
    #[error("the GGUF's metadata key `{key}` should hold {expected}")]
    KeyType {
        /// The key.
        key: String,
        /// What was expected, in words.
        expected: &'static str,
    },
    /// A tensor is missing or cannot be read.
    #[error("failed to read tensor `{name}` from the GGUF: {source}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What the reader said.
        source: candle_core::Error,
    },
    /// The file is well-formed but describes something that this engine does not compute.
    #[error("the GGUF's {what} is `{found}`; this engine supports {supported}")]
    Unsupported {
        /// The property.
        what: &'static str,
        /// Its value in the file.
        found: String,
        /// The values that would do.
        supported: &'static str,
    },
    /// The hyperparameters contradict each other.
    #[error("the GGUF's hyperparameters do not fit together: {0}")]
    Inconsistent(String),
    /// The tokenizer could not be built from the file's vocabulary.
    #[error("failed to build the tokenizer from the GGUF: {0}")]
    Tokenizer(String),
    /// The chat template does not parse.
    #[error("failed to parse the GGUF's chat template: {0}")]
    ChatTemplate(#[from] minijinja::Error),
}

/// An open GGUF file: metadata in memory, tensors read on demand.
pub struct GgufFile {
    content: Content,
    reader: BufReader<File>,
}

impl GgufFile {
    /// Opens `path` and reads its metadata.
    ///
    /// # Errors
    /// When the file cannot be opened or is not GGUF.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file =
            File::open(path).map_err(|source| LoadError::Open { path: path.to_owned(), source })?;
        let mut reader = BufReader::new(file);
        let content = Content::read(&mut reader)
            .map_err(|source| LoadError::Format { path: path.to_owned(), source })?;
        Ok(Self { content, reader })
    }

    /// An unsigned integer of any width; `None` when the key is absent.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn integer(&self, key: &str) -> Result<Option<usize>, LoadError> {
        self.optional(key, "an unsigned integer", |value| {
            value.to_u64().ok().and_then(|number| usize::try_from(number).ok())
        })
    }

    /// Like [`Self::integer`], for a key that must be there.
    ///
    /// # Errors
    /// When the key is absent or holds something else.
    pub fn required_integer(&self, key: &str) -> Result<usize, LoadError> {
        self.integer(key)?.ok_or_else(|| missing(key))
    }

    /// A 32-bit float; `None` when the key is absent.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn float(&self, key: &str) -> Result<Option<f32>, LoadError> {
        self.optional(key, "a 32-bit float", |value| value.to_f32().ok())
    }

    /// A truth value; `None` when the key is absent.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, LoadError> {
        self.optional(key, "a truth value", |value| value.to_bool().ok())
    }

    /// A string; `None` when the key is absent.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn string(&self, key: &str) -> Result<Option<String>, LoadError> {
        self.optional(key, "a string", |value| value.to_string().ok().cloned())
    }

    /// An array of strings that must be there.
    ///
    /// # Errors
    /// When the key is absent or holds something else.
    pub fn required_strings(&self, key: &str) -> Result<Vec<String>, LoadError> {
        self.optional(key, "an array of strings", |value| {
            value.to_vec().ok()?.iter().map(|item| item.to_string().ok().cloned()).collect()
        })?
        .ok_or_else(|| missing(key))
    }

    /// An array of signed integers; `None` when the key is absent.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i32>>, LoadError> {
        self.optional(key, "an array of 32-bit integers", |value| {
            value.to_vec().ok()?.iter().map(|item| item.to_i32().ok()).collect()
        })
    }

    /// Whether the file holds a tensor of this name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// Reads a matrix, in the file's own type where [`Matrix`] knows it.
    ///
    /// # Errors
    /// When the tensor is missing, cut short, no matrix, or of a type that candle cannot read.
    pub fn matrix(&mut self, name: &str) -> Result<Matrix, LoadError> {
        self.read(name, Matrix::new)
    }

    /// Reads a tensor's elements as f32.
    ///
    /// # Errors
    /// When the tensor is missing, cut short, or of a type that candle cannot dequantise.
    pub fn vector(&mut self, name: &str) -> Result<Vec<f32>, LoadError> {
        self.read(name, |tensor| tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1())
    }

    fn read<T>(
        &mut self,
        name: &str,
        convert: impl Fn(&QTensor) -> candle_core::Result<T>,
    ) -> Result<T, LoadError> {
        self.content
            .tensor(&mut self.reader, name, &Device::Cpu)
            .and_then(|tensor| convert(&tensor))
            .map_err(|source| LoadError::Tensor { name: name.to_owned(), source })
    }

    fn optional<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        let Some(value) = self.content.metadata.get(key) else {
            return Ok(None);
        };
        convert(value).map(Some).ok_or_else(|| LoadError::KeyType { key: key.to_owned(), expected })
    }
}

fn missing(key: &str) -> LoadError {
    LoadError::MissingKey { key: key.to_owned() }
}
