//! `convoy member list`.

use std::io::Write;

use anyhow::Result;

use crate::{
    cli::{
        member::{FleetFlags, NamespaceFlags, declared},
        table,
    },
    source::registry::{Access, Declarations, Network, Registration, registrations},
};

/// Show the members that the fleet declares, and what is wrong with the declarations
///
/// `convoy status` shows how a running Convoy reaches them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    fleet: FleetFlags,
    #[command(flatten)]
    namespaces: NamespaceFlags,
}

pub(super) async fn run(args: &Args, out: &mut impl Write) -> Result<()> {
    let fleet = args.fleet.client().await?;
    print(&declared(&fleet, &args.namespaces).await?, out)
}

pub(super) fn print(declared: &Declarations, out: &mut impl Write) -> Result<()> {
    let (members, diags) = registrations(declared);
    let heading = ["MEMBER", "REGION", "ZONE", "NETWORK", "API", "DECLARED BY"];
    let rows: Vec<_> = members.values().map(row).collect();
    table::print(out, &heading, &rows)?;
    if !diags.is_empty() {
        writeln!(out)?;
    }
    for diag in diags {
        writeln!(out, "{diag}")?;
    }
    Ok(())
}

fn row(registration: &Registration) -> Vec<String> {
    let Registration { id, locality, network, access, paused, declared_by, .. } = registration;
    let network = match network {
        Network::Underlay => "underlay",
        Network::Overlay => "overlay",
    };
    let api = match access {
        Ok(_) if *paused => "paused".to_owned(),
        Ok(Access::Fleet) => "the fleet".to_owned(),
        Ok(Access::Remote(credentials)) => credentials.server().to_string(),
        Err(error) => error.reason().to_owned(),
    };
    let by = declared_by.to_string();
    let [region, zone] = [&locality.region, &locality.zone].map(Clone::clone);
    vec![id.to_string(), region, zone, network.to_owned(), api, by]
}
