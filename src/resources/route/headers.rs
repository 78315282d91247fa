//! Headers that a route gives to requests, takes from them, or gives to its own answers.

use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue as HeaderPair, HeaderValueOption, header_value_option::HeaderAppendAction,
};

use crate::model::{HeaderEdit, HeaderValue};

/// What is added to requests, and what is removed from them before.
pub(super) fn of_requests(edits: &[HeaderEdit]) -> (Vec<HeaderValueOption>, Vec<String>) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for edit in edits {
        match edit {
            HeaderEdit::Insert { name, value, replaces } => {
                let action = if *replaces {
                    HeaderAppendAction::OverwriteIfExistsOrAdd
                } else {
                    HeaderAppendAction::AddIfAbsent
                };
                added.push(header(name, format(value), action));
            }
            HeaderEdit::Remove(name) => removed.push(name.to_string()),
        }
    }
    (added, removed)
}

/// In place of the one that Envoy gives to answers of its own.
pub(super) fn content_type(value: &str) -> HeaderValueOption {
    header("content-type", escape(value), HeaderAppendAction::OverwriteIfExistsOrAdd)
}

fn header(name: &str, value: String, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderPair { key: name.into(), value, ..Default::default() }),
        append_action: action.into(),
        ..Default::default()
    }
}

fn format(value: &HeaderValue) -> String {
    match value {
        HeaderValue::Text(text) => escape(text),
        HeaderValue::OfHeader(name) => format!("%REQ({name})%"),
    }
}

/// A single `%` begins a command of Envoy's.
fn escape(text: &str) -> String {
    text.replace('%', "%%")
}
