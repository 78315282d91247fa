//! The pages of one list, and whether they are the whole of it.
//!
//! Owns the rule that a list counts only if it is certainly complete (faults.md A11). Pure.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::source::kube::request::{Fault, Trouble};

/// Objects in a page: what an API server answers within milliseconds.
pub(super) const PAGE: u32 = 500;

/// Objects of one kind: beyond any cluster, for 150,000 Pods is the most that Kubernetes supports.
const MAX_OBJECTS: usize = 200_000;

/// Pages of one list: all the objects, and as many pages again that are not full.
const MAX_PAGES: usize = 2 * MAX_OBJECTS / PAGE as usize;

/// One page as the server sends it.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    metadata: PageMetadata,
    /// Must be there; an empty one may be `null`.
    #[serde(deserialize_with = "items")]
    pub(super) items: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
    remaining_item_count: Option<u64>,
}

fn items<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<Value>, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// What is left to do after a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To ask for the page with this token.
    Page(String),
    /// Nothing; the list is as of this version.
    Done(String),
}

/// The pages so far.
#[derive(Debug, Default)]
pub(super) struct Listing {
    version: Option<String>,
    pages: usize,
    items: usize,
    /// How many there must be in the end, if the server said so.
    expected: Option<usize>,
}

impl Listing {
    /// Takes note of a page.
    pub(super) fn add(&mut self, page: &Page) -> Result<Next, Trouble> {
        let metadata = &page.metadata;
        let text = |own: &Option<String>| own.clone().filter(|own| !own.is_empty());
        let incomplete = |message: &str| Err(Trouble::new(Fault::IncompleteList, message));
        self.pages += 1;
        self.items += page.items.len();
        if self.items > MAX_OBJECTS || self.pages > MAX_PAGES {
            let message = format!("more than {MAX_OBJECTS} objects or {MAX_PAGES} pages");
            return Err(Trouble::new(Fault::LimitExceeded, message));
        }
        let Some(version) = text(&metadata.resource_version) else {
            return incomplete("a page without a version");
        };
        if *self.version.get_or_insert_with(|| version.clone()) != version {
            return incomplete("pages of different versions");
        }
        if let Some(more) = metadata.remaining_item_count {
            let total = self.items + usize::try_from(more).unwrap_or(usize::MAX - self.items);
            self.expected.get_or_insert(total);
        }
        match text(&metadata.continue_token) {
            Some(token) => Ok(Next::Page(token)),
            None if self.expected.is_some_and(|total| total != self.items) => {
                incomplete("the pages hold less than the server said")
            }
            None => Ok(Next::Done(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DONE: Result<&str, &str> = Ok("done 7");

    /// Pages as (version, items, continue, remaining), and what the last one led to.
    #[track_caller]
    fn check(pages: &[(&str, usize, &str, Option<u64>)], expect: Result<&str, &str>) {
        let mut listing = Listing::default();
        let mut last = Ok(String::new());
        for (version, items, token, remaining) in pages {
            let page = json!({
                "metadata": {
                    "resourceVersion": version, "continue": token, "remainingItemCount": remaining,
                },
                "items": vec![json!({}); *items],
            });
            last = match listing.add(&serde_json::from_value(page).unwrap()) {
                Ok(Next::Page(token)) => Ok(format!("page {token}")),
                Ok(Next::Done(version)) => Ok(format!("done {version}")),
                Err(trouble) => Err(trouble.reason()),
            };
        }
        assert_eq!(last.as_deref().map_err(|reason| *reason), expect);
    }

    #[test]
    fn fault_a11_a_list_counts_only_if_it_is_whole() {
        check(&[("7", 3, "", None)], DONE);
        check(&[("7", 2, "b", None)], Ok("page b"));
        check(&[("7", 2, "b", Some(2)), ("7", 2, "", None)], DONE);
        check(&[("7", 2, "b", Some(3)), ("7", 2, "c", Some(1)), ("7", 1, "", None)], DONE);
        // The second of three pages was lost, or what follows the first.
        check(&[("7", 2, "b", Some(3)), ("7", 1, "", None)], Err("IncompleteList"));
        check(&[("7", 2, "", Some(3))], Err("IncompleteList"));
        check(&[("7", 2, "b", None), ("6", 2, "", None)], Err("IncompleteList"));
        check(&[("", 2, "", None)], Err("IncompleteList"));
    }

    #[test]
    fn fault_a13_a_list_that_does_not_end_is_refused() {
        check(&vec![("7", 1, "more", None); MAX_PAGES], Ok("page more"));
        check(&vec![("7", 1, "more", None); MAX_PAGES + 1], Err("LimitExceeded"));
        check(&[("7", MAX_OBJECTS + 1, "", None)], Err("LimitExceeded"));
    }

    #[test]
    fn fault_a11_an_answer_without_items_is_no_list() {
        let legal = [r#"{"metadata":{},"items":[]}"#, r#"{"metadata":{},"items":null}"#];
        let illegal = [r#"{"metadata":{}}"#, r#"{"items":[]}"#, r#"{"metadata":{},"items":[{]}"#];
        for (texts, expect) in [(legal.as_slice(), true), (&illegal, false)] {
            for text in texts {
                assert_eq!(serde_json::from_str::<Page>(text).is_ok(), expect, "{text}");
            }
        }
    }
}
