//! Regular expressions that Envoy's RE2 accepts (faults.md F1, F2, M14, M15).

use std::{fmt, sync::Arc};

/// An expression that was checked: what Envoy would refuse cannot be held in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Regex(Arc<str>);

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError(pub String);

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Regex {
    /// Checks an expression.
    pub fn new(text: &str) -> Result<Regex, RegexError> {
        match regex_syntax::parse(text) {
            Ok(_) => Ok(Regex(text.into())),
            Err(error) => Err(RegexError(error.to_string())),
        }
    }

    /// The expression as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
