//! `convoy member`: clusters come and go.
//!
//! Owns what is written for a member: an account in it, with the rules of [`crate::rbac`], and a
//! Secret in the fleet ([`secret`]). Who wins an id and what credentials may be is the registry's.
//! Nothing here talks to a running Convoy.

mod add;
mod list;
mod remove;
mod secret;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};

use crate::{
    api::MemberCluster,
    rbac::Manifest,
    source::{
        kube::connect,
        registry::{DEFAULT_NAMESPACES, Declarations, declarations},
    },
};

/// Field manager of what the command line writes.
const MANAGER: &str = "convoy-cli";

/// Add clusters to the fleet, show them, and remove them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Add(add::Args),
    List(list::Args),
    Remove(remove::Args),
}

pub(super) async fn run(args: Args, out: &mut impl Write) -> Result<ExitCode> {
    match args.command {
        Command::Add(args) => add::run(&args, out).await?,
        Command::List(args) => list::run(&args, out).await?,
        Command::Remove(args) => remove::run(&args, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The fleet, and where members are declared in it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fleet")]
struct FleetFlags {
    /// Kubeconfig of the fleet; without it, $KUBECONFIG, ~/.kube/config, or the Pod's account
    #[arg(long, env = "CONVOY_KUBECONFIG", value_name = "FILE")]
    fleet_kubeconfig: Option<PathBuf>,
    /// Context of the fleet in its kubeconfig; without it, the current one
    #[arg(long, env = "CONVOY_CONTEXT", value_name = "NAME")]
    fleet_context: Option<String>,
}

impl FleetFlags {
    async fn client(&self) -> Result<Client> {
        connect(self.fleet_kubeconfig.as_deref(), self.fleet_context.as_deref()).await
    }
}

/// Where members are declared.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub(super) struct NamespaceFlags {
    /// Namespaces in which Secrets declare members
    #[arg(
        long = "member-namespace",
        env = "CONVOY_MEMBER_NAMESPACE",
        value_name = "NAMESPACE",
        value_delimiter = ',',
        default_values = DEFAULT_NAMESPACES
    )]
    member_namespaces: Vec<String>,
}

impl NamespaceFlags {
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        self.member_namespaces.iter().cloned().collect()
    }
}

/// Everything that declares a member. A fleet without the CRD has no `MemberCluster`.
async fn declared(fleet: &Client, flags: &NamespaceFlags) -> Result<Declarations> {
    let namespaces = flags.namespaces();
    let mut secrets = Vec::new();
    for namespace in &namespaces {
        let api = Api::namespaced(fleet.clone(), namespace);
        let list = api.list(&ListParams::default()).await;
        secrets.extend(list.with_context(|| format!("list Secrets in {namespace}"))?);
    }
    let api: Api<DynamicObject> =
        Api::all_with(fleet.clone(), &ApiResource::erase::<MemberCluster>(&()));
    let clusters = match api.list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error).context("list MemberClusters"),
    };
    Ok(declarations(namespaces, secrets, clusters))
}

/// Whether a request changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Write,
    /// The API server judges it as if it did.
    Rehearse,
}

/// Writes a manifest by server-side apply.
async fn apply(client: &Client, manifest: &Manifest, mode: Mode) -> Result<()> {
    let object: DynamicObject =
        serde_json::from_value(manifest.object.clone()).context("build a manifest")?;
    let types = object.types.as_ref().context("a manifest has a type")?;
    let kind = GroupVersionKind::try_from(types).context("a manifest has an apiVersion")?;
    let kind = ApiResource::from_gvk_with_plural(&kind, manifest.plural);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let name = object.name_any();
    let dry_run = mode == Mode::Rehearse;
    let params = PatchParams { dry_run, ..PatchParams::apply(MANAGER).force() };
    let written = api.patch(&name, &params, &Patch::Apply(&manifest.object)).await;
    written.with_context(|| format!("apply {} {name}", kind.kind)).map(drop)
}

/// Whether the API server said that something is not there.
fn is_not_found(error: &anyhow::Error) -> bool {
    let answer = error.downcast_ref::<kube::Error>();
    matches!(answer, Some(kube::Error::Api(status)) if status.code == 404)
}
