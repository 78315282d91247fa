//! What becomes of the authority: a function of what its Secret says and of the time.
//!
//! Owns when a rotation begins and when it goes on. Must not know the API, nor who else looks at the
//! Secret: whoever writes first wins, and the others find what they would have written.
//!
//! One assumption bears it all: nobody uses for longer than `overlap` what was true before, be it
//! a peer with its bundle or a replica with what it read. So an authority is trusted for `overlap`
//! before it signs, and for `overlap` and the life of a leaf after another signs in its place.
//!
//! ```text
//! settled ──age, operator──▶ spreading ──overlap──▶ retiring ──overlap + leaf──▶ settled
//! ```

use std::time::SystemTime;

use crate::{
    identity::authority::{
        certificate::{Pair, whole},
        content::{Content, Phase},
    },
    settings::IdentityTimings,
};

/// What the Secret was found to be.
#[derive(Debug)]
pub(super) enum Found {
    /// It is not there, or nobody has written to it.
    Nothing,
    /// As it should be.
    Content(Box<Content>),
    /// Something else; why.
    Broken(String),
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Use it.
    Adopt(Content),
    /// Write this, and use it once it is written.
    Write(Content),
    /// Go on with what is known, if anything is; why.
    Keep(String),
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A next authority is to be trusted.
    Begin,
    /// It is to sign.
    Switch,
    /// What was before it is to be trusted no longer.
    Retire,
    /// The authority has ended, and all that it has signed: there is nothing to overlap with.
    Replace,
}

/// What to do with what was found. `known`: what is in use. `asked`: what the operator's annotation
/// says, if there is one.
pub(super) fn plan(
    known: Option<&Content>,
    found: Found,
    asked: Option<&str>,
    now: SystemTime,
    timings: &IdentityTimings,
) -> Result<Plan, rcgen::Error> {
    match (found, known) {
        (Found::Broken(why), _) => Ok(Plan::Keep(why)),
        // A new authority would lock everybody out who trusts the one that we know.
        (Found::Nothing, Some(known)) => Ok(Plan::Write(known.clone())),
        (Found::Nothing, None) => Ok(Plan::Write(fresh(now, timings)?)),
        (Found::Content(content), _) => match due(&content, asked, now, timings) {
            None => Ok(Plan::Adopt(*content)),
            Some(step) => Ok(Plan::Write(after(*content, step, asked, now, timings)?)),
        },
    }
}

/// The first authority of a fleet.
pub(super) fn fresh(now: SystemTime, timings: &IdentityTimings) -> Result<Content, rcgen::Error> {
    Ok(Content {
        signer: authority(now, timings)?,
        next: None,
        retired: Vec::new(),
        since: whole(now),
        answered: String::new(),
    })
}

fn authority(now: SystemTime, timings: &IdentityTimings) -> Result<Pair, rcgen::Error> {
    Pair::new(now, timings.skew, timings.authority)
}

/// The step that is due.
pub(super) fn due(
    content: &Content,
    asked: Option<&str>,
    now: SystemTime,
    timings: &IdentityTimings,
) -> Option<Step> {
    if content.signer.root.validity.has_ended(now) {
        let next = content.next.as_ref().filter(|next| !next.root.validity.has_ended(now));
        return Some(next.map_or(Step::Replace, |_| Step::Switch));
    }
    let waited = now.duration_since(content.since).unwrap_or_default();
    // What is planned in one second may be written in a later one, and until then the others read
    // what was before.
    let written = timings.request;
    let (is_due, step) = match content.phase() {
        Phase::Settled => {
            let is_asked =
                asked.is_some_and(|asked| !asked.is_empty() && asked != content.answered);
            (is_asked || now >= content.signer.root.validity.due(), Step::Begin)
        }
        Phase::Spreading => (waited > written + timings.overlap, Step::Switch),
        Phase::Retiring => (waited > written + timings.overlap + timings.leaf, Step::Retire),
    };
    is_due.then_some(step)
}

/// What the Secret says after a step.
pub(super) fn after(
    content: Content,
    step: Step,
    asked: Option<&str>,
    now: SystemTime,
    timings: &IdentityTimings,
) -> Result<Content, rcgen::Error> {
    let since = whole(now);
    let answer = |content: &Content| asked.unwrap_or(&content.answered).to_owned();
    Ok(match step {
        Step::Begin => Content {
            next: Some(authority(now, timings)?),
            since,
            answered: answer(&content),
            ..content
        },
        Step::Switch => {
            // An operator who asks meanwhile wants what signs now to be replaced: that is done.
            let answered = answer(&content);
            let Content { signer, next, mut retired, .. } = content;
            let Some(next) = next else { return fresh(now, timings) };
            retired.push(signer.root);
            Content { signer: next, next: None, retired, since, answered }
        }
        Step::Retire => Content { retired: Vec::new(), since, ..content },
        Step::Replace => Content { answered: answer(&content), ..fresh(now, timings)? },
    })
}
