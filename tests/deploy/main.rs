//! What people install: the charts as Helm renders them, what is derived from them, the program of the
//! image, and what Prometheus and Grafana are given.
//!
//! Helm and promcheck are built by `tests/bed/programs.sh`, the program of the image by
//! `make image-binary`. Without them the tests are skipped, loudly; with `CI` set they fail.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod account;
mod api;
mod chart;
mod derived;
mod image;
mod observability;
mod program;
mod readme;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

/// Functions with their names.
macro_rules! named {
    ($($test:path),+ $(,)?) => { [$((stringify!($test), $test as fn())),+] };
}

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some(image::INSIDE) {
        image::inside();
        return ExitCode::SUCCESS;
    }
    let tests = named![
        account::fault_s03_the_chart_grants_the_table_and_nothing_else,
        account::every_role_is_bound_to_the_account_of_convoy,
        chart::lint_finds_nothing,
        chart::what_is_unknown_or_unsafe_is_refused,
        chart::fault_s21_every_pod_is_restricted,
        chart::flags_are_those_of_serve,
        chart::fault_s01_xds_is_mutual_tls_unless_for_development,
        chart::strangers_do_not_reach_convoy,
        chart::policies_and_monitors_are_those_of_the_envoys,
        chart::notes_print_what_comes_next,
        chart::definitions_stay_behind,
        derived::copies_are_up_to_date,
        derived::install_yaml_is_up_to_date,
        derived::versions_agree,
        derived::the_readme_lists_the_values,
        image::binary_is_static_and_small,
        image::binary_runs_with_nothing_beside_it,
        observability::rules_and_expressions_parse,
        observability::every_alert_says_what_is_lost,
        observability::names_are_those_of_metrics,
        readme::it_is_installed_with_few_commands,
        readme::what_it_promises_is_tested,
        readme::annotations_of_gateways_are_listed,
    ];
    let is_skipped_where_missing = env::var_os("CI").is_none();
    let trial = |(name, test): (&str, fn())| {
        let is_of_image = name.starts_with("image::");
        let missing = if is_of_image { image::missing() } else { program::missing() };
        let skip = missing.is_some() && is_skipped_where_missing;
        if let Some(missing) = missing.as_ref().filter(|_| skip) {
            eprintln!("*** SKIPPED: {name}: {missing} ***");
        }
        let run = move || match missing {
            Some(missing) => Err(missing.into()),
            None => {
                test();
                Ok(())
            }
        };
        Trial::test(name, run).with_ignored_flag(skip)
    };
    let trials = tests.map(trial).into_iter().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
