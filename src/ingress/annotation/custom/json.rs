//! The lists that conditions and actions are written as, read to the last key.
//!
//! Keys are compared without case, as the vendor's reader does. A key that nobody asks for is an
//! error that names it: nothing that an author wrote is passed over.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Map, Value};

use crate::ingress::annotation::value;

/// Elements of one list, and of a list in one.
const MAX_ELEMENTS: usize = 20;

/// An element: `{"type": "Header", "headerConfig": {…}}`.
pub(super) struct Element {
    /// As it is written.
    pub(super) kind: String,
    /// Of its configuration.
    pub(super) fields: Fields,
}

/// The keys of an object that nobody has asked for yet.
pub(super) struct Fields {
    place: String,
    left: BTreeMap<String, Value>,
}

/// The elements of a list.
///
/// # Errors
/// Says where it is not such a list.
pub(super) fn elements(text: &str) -> Result<Vec<Element>, String> {
    let list: Vec<Value> =
        serde_json::from_str(text).map_err(|error| format!("not a list in JSON: {error}"))?;
    if list.is_empty() || list.len() > MAX_ELEMENTS {
        return Err(format!("a list of {} elements: from 1 to {MAX_ELEMENTS} are", list.len()));
    }
    list.into_iter().enumerate().map(|(idx, one)| element(one, &format!("[{idx}]"))).collect()
}

fn element(value: Value, place: &str) -> Result<Element, String> {
    let mut outer = Fields::of(value, place)?;
    let kind = outer.text("type")?.ok_or_else(|| format!("{place}.type is missing"))?;
    // The order of actions is that of the list.
    outer.left.remove("order");
    // One kind has a name of its own for it.
    let known = [format!("{kind}Config"), "forwardConfig".to_owned()];
    let used = known.iter().find(|key| outer.left.contains_key(&key.to_ascii_lowercase()));
    let fields = match used {
        Some(key) => {
            let config = outer.left.remove(&key.to_ascii_lowercase()).unwrap_or_default();
            Fields::of(config, &format!("{place}.{key}"))?
        }
        None => return Err(format!("{place}.{kind}Config is missing")),
    };
    outer.end()?;
    Ok(Element { kind, fields })
}

impl Fields {
    fn of(value: Value, place: &str) -> Result<Fields, String> {
        let map: Map<String, Value> = match value {
            Value::Object(map) => map,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                return Err(format!("{place} is not an object"));
            }
        };
        let n_keys = map.len();
        let left: BTreeMap<_, _> =
            map.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
        if left.len() < n_keys {
            return Err(format!("{place} has a key twice"));
        }
        Ok(Fields { place: place.to_owned(), left })
    }

    /// Text; `None` if it is absent, null or empty.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_other) => Err(format!("{} is not text", self.at(key))),
        }
    }

    /// Text that must be there.
    pub(super) fn needed(&mut self, key: &str) -> Result<String, String> {
        self.text(key)?.ok_or_else(|| format!("{} is missing", self.at(key)))
    }

    /// Text that `parse` accepts.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|problem| format!("{}: {problem}", self.at(key)))
    }

    /// A number, as one or as text.
    pub(super) fn number<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        let text = match self.take(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            Some(_other) => return Err(format!("{} is not a number", self.at(key))),
        };
        let refused = || format!("{}: {} is out of range", self.at(key), value::quote(&text));
        let digits = Some(&text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or_else(refused)
    }

    /// A boolean, as one or as text.
    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) => match text.as_str() {
                "" => Ok(None),
                "on" => Ok(Some(true)),
                "off" => Ok(Some(false)),
                other => value::boolean(other)
                    .map(Some)
                    .map_err(|problem| format!("{}: {problem}", self.at(key))),
            },
            Some(_other) => Err(format!("{} is neither true nor false", self.at(key))),
        }
    }

    /// A list of texts; empty if it is absent.
    pub(super) fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        let place = self.at(key);
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(format!("{place} is not a list of texts")),
        };
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        bounded(value, &place)?.into_iter().map(text).collect()
    }

    /// A list of objects; empty if it is absent.
    pub(super) fn objects(&mut self, key: &str) -> Result<Vec<Fields>, String> {
        let place = self.at(key);
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let list = bounded(value, &place)?.into_iter().enumerate();
        list.map(|(idx, value)| Fields::of(value, &format!("{place}[{idx}]"))).collect()
    }

    /// An object, if it is there.
    pub(super) fn object(&mut self, key: &str) -> Result<Option<Fields>, String> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Fields::of(value, &self.at(key)).map(Some),
        }
    }

    /// Every key was asked for.
    pub(super) fn end(self) -> Result<(), String> {
        match self.left.keys().next() {
            Some(key) => Err(format!("{} is not served", value::quote(&self.at(key)))),
            None => Ok(()),
        }
    }

    /// A field, as messages name it.
    pub(super) fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.left.remove(&key.to_ascii_lowercase())
    }
}

fn bounded(value: Value, place: &str) -> Result<Vec<Value>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) if list.len() <= MAX_ELEMENTS => Ok(list),
        Value::Array(list) => {
            Err(format!("{place} has {} elements and may have {MAX_ELEMENTS}", list.len()))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(format!("{place} is not a list"))
        }
    }
}
