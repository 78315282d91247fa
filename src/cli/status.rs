//! `convoy status`: what a running Convoy knows.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use tonic::transport::{Channel, Endpoint};

use crate::{
    admin::proto::{
        Diagnostic, Envoy, Gateway, ListDiagnosticsRequest, ListEnvoysRequest, ListGatewaysRequest,
        ListMembersRequest, ListMembersResponse, Member, MemberState, Trouble, TypeStatus,
        inspection_client::InspectionClient,
    },
    cli::table,
    snapshot::Kind,
};

/// Diagnostics of a large fleet exceed the 4 MiB that a client accepts by default.
const MAX_ANSWER: usize = 256 << 20;

/// Show gateways, members, connected Envoys and findings of a running Convoy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where `convoy serve --admin-listen` is reached
    #[arg(long, env = "CONVOY_ADMIN", value_name = "HOST:PORT", default_value = "127.0.0.1:18001")]
    admin: String,
    /// Tables for people, or JSON for machines
    #[arg(short, long, env = "CONVOY_OUTPUT", value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
struct Status {
    fleet_trouble: Option<Trouble>,
    gateways: Vec<Gateway>,
    members: Vec<Member>,
    envoys: Vec<Envoy>,
    diagnostics: Vec<Diagnostic>,
}

pub(super) async fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let status = ask(&args.admin).await?;
    match args.output {
        Format::Table => print_tables(&status, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &status).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(admin: &str) -> Result<Status> {
    let endpoint = Endpoint::from_shared(format!("http://{admin}")).context("parse --admin")?;
    let channel: Channel = endpoint
        .connect()
        .await
        .with_context(|| format!("connect to {admin}; is `convoy serve` running there?"))?;
    let mut convoy = InspectionClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let gateways = convoy.list_gateways(ListGatewaysRequest {}).await?.into_inner().gateways;
    let ListMembersResponse { members, fleet_trouble } =
        convoy.list_members(ListMembersRequest {}).await?.into_inner();
    let envoys = convoy.list_envoys(ListEnvoysRequest {}).await?.into_inner().envoys;
    let diagnostics = convoy.list_diagnostics(ListDiagnosticsRequest {}).await?.into_inner();
    let diagnostics = diagnostics.diagnostics;
    Ok(Status { fleet_trouble, gateways, members, envoys, diagnostics })
}

fn print_tables(status: &Status, out: &mut impl Write) -> Result<()> {
    let Status { fleet_trouble, gateways, members, envoys, diagnostics } = status;
    if let Some(Trouble { reason, message, seconds }) = fleet_trouble {
        let since = seconds.map_or(String::new(), |own| format!(" for {}", age(own)));
        writeln!(out, "the fleet cannot be read{since}: {reason}: {message}\n")?;
    }
    let heading: Vec<String> = ["GATEWAY", "REVISION", "ENVOYS"].map(str::to_owned).into();
    let types = Kind::ALL.map(|kind| kind.as_str().to_uppercase());
    let heading: Vec<_> =
        heading.iter().chain(&types).map(String::as_str).chain(["MEMBERS"]).collect();
    print_table(out, &heading, gateways, gateway_row)?;
    let heading =
        ["MEMBER", "STATE", "SERVICES", "ENDPOINTS", "CONTACT", "REGION", "ZONE", "MESSAGE"];
    print_table(out, &heading, members, member_row)?;
    let heading = ["ENVOY", "GATEWAY", "VERSION", "ADDRESS", "XDS", "STATE"];
    print_table(out, &heading, envoys, envoy_row)?;
    let heading = ["SEVERITY", "CLUSTER", "OBJECT", "FIELD", "REASON", "MESSAGE"];
    print_table(out, &heading, diagnostics, diagnostic_row)?;
    if diagnostics.is_empty() {
        writeln!(out, "no findings")?;
    }
    Ok(())
}

/// A table and an empty line after it; nothing without rows.
fn print_table<T>(
    out: &mut impl Write,
    heading: &[&str],
    items: &[T],
    row: fn(&T) -> Vec<String>,
) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = items.iter().map(row).collect();
    table::print(out, heading, &rows)?;
    writeln!(out)?;
    Ok(())
}

fn gateway_row(gateway: &Gateway) -> Vec<String> {
    let Gateway { id, revision, members, resources, envoys } = gateway;
    let count = |kind: Kind| resources.get(kind.as_str()).copied().unwrap_or(0).to_string();
    let head = [id.clone(), revision.to_string(), envoys.to_string()];
    head.into_iter().chain(Kind::ALL.map(count)).chain([members.join(",")]).collect()
}

fn member_row(member: &Member) -> Vec<String> {
    let Member { id, state, services, endpoints, trouble, seconds_since_contact, region, zone } =
        member;
    let state = MemberState::try_from(*state).unwrap_or(MemberState::Unspecified).as_text();
    let (state, message) = match trouble {
        Some(Trouble { reason, message, .. }) => (format!("{state}: {reason}"), message.clone()),
        None => (state.to_owned(), String::new()),
    };
    let contact = seconds_since_contact.map_or("-".to_owned(), |own| format!("{} ago", age(own)));
    let cells = [id.clone(), state, services.to_string(), endpoints.to_string(), contact];
    cells.into_iter().chain([region.clone(), zone.clone(), message]).collect()
}

/// As kubectl writes it.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

fn envoy_row(envoy: &Envoy) -> Vec<String> {
    let Envoy { node_id, gateway, gateway_found, delta, version, address, types, waiting } = envoy;
    let variant = if *delta { "delta" } else { "sotw" };
    let state = match (gateway_found, waiting) {
        (true, false) => sync_state(types),
        (true, true) => "waits: a member is not read yet".to_owned(),
        (false, _) => "waits: no such gateway".to_owned(),
    };
    let cells = [node_id, gateway, version, address].map(String::clone);
    cells.into_iter().chain([variant.to_owned(), state]).collect()
}

/// `in sync`, or what is refused, withheld or not acknowledged yet, by type.
fn sync_state(types: &[TypeStatus]) -> String {
    let behind = types.iter().filter_map(|status| {
        let TypeStatus {
            r#type,
            sent,
            acknowledged,
            refusals: _,
            last_error,
            rejected: _,
            withheld,
        } = status;
        if !last_error.is_empty() {
            return Some(format!("{type} refused: {last_error}"));
        }
        if *withheld > 0 {
            return Some(format!("{type} {withheld} withheld: a member was never read"));
        }
        (acknowledged < sent).then(|| format!("{type} {acknowledged}/{sent} acknowledged"))
    });
    let behind: Vec<_> = behind.collect();
    if behind.is_empty() { "in sync".to_owned() } else { behind.join("; ") }
}

fn diagnostic_row(diagnostic: &Diagnostic) -> Vec<String> {
    let Diagnostic { cluster, kind, namespace, name, field, severity, reason, message } =
        diagnostic;
    let slash = if namespace.is_empty() { "" } else { "/" };
    let object = format!("{kind} {namespace}{slash}{name}");
    vec![severity.clone(), cluster.clone(), object, field.clone(), reason.clone(), message.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_says_why_it_is_stale_and_since_when_it_is_silent() {
        let check = |state: MemberState, contact: Option<u64>, expect: &str| {
            let trouble = (state == MemberState::Stale).then(|| Trouble {
                reason: "Unreachable".to_owned(),
                message: "no answer".to_owned(),
                seconds: None,
            });
            let member = Member {
                id: "c1".to_owned(),
                state: state.into(),
                services: 2,
                endpoints: 9,
                trouble,
                seconds_since_contact: contact,
                region: "hk".to_owned(),
                zone: "b".to_owned(),
            };
            assert_eq!(member_row(&member).join("|"), expect);
        };
        check(MemberState::Connecting, None, "c1|connecting|2|9|-|hk|b|");
        check(MemberState::Live, Some(0), "c1|live|2|9|0s ago|hk|b|");
        check(MemberState::Stale, Some(119), "c1|stale: Unreachable|2|9|119s ago|hk|b|no answer");
        check(MemberState::Stale, Some(120), "c1|stale: Unreachable|2|9|2m ago|hk|b|no answer");
        check(MemberState::Live, Some(180_000), "c1|live|2|9|2d ago|hk|b|");
    }
}
