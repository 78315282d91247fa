//! Reading untyped documents strictly: what is not allowed by name is refused.
//!
//! Owns the difference between a field that is absent, one that is empty, and one that is
//! unknown. Must not know what the fields mean. No message holds a value (faults.md S6).

use std::fmt;

use serde_json::Value;

use crate::source::decode::cut;

/// Why a document is refused: which field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    path: String,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// The fields that an object may have.
pub(super) struct Fields {
    pub(super) allowed: &'static [&'static str],
    /// Fields that mean something elsewhere, and why they are refused here.
    pub(super) refused: &'static [(&'static str, &'static str)],
}

/// A value and where it is. A field that is absent, `null`, `""` or `false` is no value: that is
/// how a field is left out in a kubeconfig.
#[derive(Clone)]
pub(super) struct Node<'a> {
    path: String,
    value: Option<&'a Value>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Node<'a> {
        Node::new(String::new(), Some(value))
    }

    /// A text that is not part of a document.
    pub(super) fn named(path: &str, value: Option<&'a Value>) -> Node<'a> {
        Node::new(path.to_owned(), value)
    }

    fn new(path: String, value: Option<&'a Value>) -> Node<'a> {
        let is_set = |value: &&Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
        };
        Node { path, value: value.filter(is_set) }
    }

    pub(super) fn refuse(&self, message: impl Into<String>) -> Refusal {
        Refusal { path: self.path.clone(), message: message.into() }
    }

    pub(super) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// The field `key`. An object that is no object is found out by [`Node::check`].
    pub(super) fn get(&self, key: &str) -> Node<'a> {
        let dot = if self.path.is_empty() { "" } else { "." };
        Node::new(format!("{}{dot}{key}", self.path), self.value.and_then(|value| value.get(key)))
    }

    /// That it is an object with these fields only.
    pub(super) fn check(&self, fields: &Fields) -> Result<(), Refusal> {
        let Some(Value::Object(object)) = self.value else {
            return Err(self.refuse("must be a mapping"));
        };
        for key in object.keys() {
            let field = self.get(key);
            if !field.is_set() || fields.allowed.contains(&key.as_str()) {
                continue;
            }
            let known = fields.refused.iter().find(|(name, _)| name == key);
            return Err(match known {
                Some((_, why)) => field.refuse(*why),
                None => self.get(cut(key)).refuse("is not known here"),
            });
        }
        Ok(())
    }

    /// The items of a list; none if it is absent.
    pub(super) fn items(&self) -> Result<Vec<Node<'a>>, Refusal> {
        match self.value {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let items = items.iter().enumerate();
                let item = |(idx, item)| Node::new(format!("{}[{idx}]", self.path), Some(item));
                Ok(items.map(item).collect())
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_))
            | Some(Value::Null) => Err(self.refuse("must be a list")),
        }
    }

    /// A text; `None` if it is absent.
    pub(super) fn text(&self) -> Result<Option<&'a str>, Refusal> {
        match self.value {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.refuse("must be a text")),
        }
    }

    /// A text that must be there.
    pub(super) fn required(&self) -> Result<&'a str, Refusal> {
        self.text()?.ok_or_else(|| self.refuse("is missing"))
    }
}
