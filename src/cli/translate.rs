//! `convoy translate`: what Envoys would be told, without serving it.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    admin::no_gateway,
    cli::flags::GatewayFlags,
    diag::Severity,
    key::GatewayId,
    resources::print,
    serve::{self, Translated},
    snapshot::{GatewayView, Kind},
};

/// Print every xDS resource that a fleet directory makes
///
/// The order is stable: by gateway, by type (sds, cds, eds, lds, rds), by name. The same objects
/// give the same bytes, so the output can be kept and compared. Private keys are not printed.
///
/// What is wrong with the objects is said on stderr, one finding a line: severity, object, field,
/// reason, message. The exit code is 1 if one of them is an error.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory with `fleet/` and `members/ID/`, as for `convoy serve`
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only this gateway: the name of its object, or KIND/NAME where two have it
    #[arg(long, env = "CONVOY_GATEWAY", value_name = "NAME")]
    gateway: Option<String>,
    /// YAML documents, or one JSON array
    #[arg(short, long, env = "CONVOY_OUTPUT", value_name = "FORMAT", default_value = "yaml")]
    output: Format,
    #[command(flatten)]
    gateways: GatewayFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// One resource as it is printed.
#[derive(Debug, Serialize)]
struct Row<'a> {
    gateway: String,
    r#type: &'static str,
    name: &'a str,
    version: String,
    resource: serde_json::Value,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let translated = serve::translate(&args.dir, &args.gateways.defaults())?;
    for diag in &translated.diags {
        eprintln!("{diag}");
    }
    let rows: Vec<Row<'_>> = chosen(&translated, args.gateway.as_deref())?
        .flat_map(|(id, view)| rows(id, view))
        .collect::<Result<_>>()?;
    match args.output {
        Format::Yaml => print_yaml(&rows, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &rows).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
    }
    let failed = translated.diags.iter().any(|diag| diag.severity == Severity::Error);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

type Views<'a> = Box<dyn Iterator<Item = (&'a GatewayId, &'a Arc<GatewayView>)> + 'a>;

fn chosen<'a>(translated: &'a Translated, gateway: Option<&str>) -> Result<Views<'a>> {
    let views = &translated.views;
    let Some(name) = gateway else { return Ok(Box::new(views.iter())) };
    let Some(id) = GatewayId::find(views.keys(), name) else {
        bail!(no_gateway(name, views.keys()))
    };
    Ok(Box::new(views.get_key_value(id).into_iter()))
}

fn rows<'a>(id: &'a GatewayId, view: &'a GatewayView) -> impl Iterator<Item = Result<Row<'a>>> {
    let resources = Kind::ALL.into_iter().flat_map(|kind| view.table(kind).iter());
    resources.map(|resource| {
        Ok(Row {
            gateway: id.to_string(),
            r#type: resource.kind.as_str(),
            name: &resource.name,
            version: resource.version.to_string(),
            resource: print::json(resource)?,
        })
    })
}

fn print_yaml(rows: &[Row<'_>], out: &mut impl Write) -> Result<()> {
    for row in rows {
        let text = serde_saphyr::to_string(row).context("print a resource as YAML")?;
        write!(out, "---\n{}\n", text.trim_end())?;
    }
    Ok(())
}
