//! A cluster leaves after the routes that name it: G2 of xds.md 3.5.

use crate::{
    settings::{Mechanisms, Timings},
    xds::{
        request::Variant::{Delta, Sotw},
        session::tests::script::{check, check_with},
    },
};

#[test]
fn a_removal_waits_until_the_routes_are_acknowledged() {
    check(
        Delta,
        "commit +cds:a(sds:s) +cds:b(sds:s) +lds:l +rds:r
         sub cds                -> cds +a +b
         ack cds
         wait 2000
         sub lds                -> lds +l
         ack lds
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         ack rds                -> cds -a
         ack cds",
    );
    check(
        Sotw,
        "commit +cds:a(sds:s) +cds:b(sds:s) +lds:l +rds:r
         list cds               -> cds a b
         ack cds
         wait 2000
         list lds               -> lds l
         ack lds
         list rds r             -> rds r
         ack rds
         commit -cds:a +rds:r@2 -> rds r@2
         commit +cds:b@2        -> cds a b@2
         ack cds
         ack rds                -> cds b@2
         ack cds",
    );
}

#[test]
fn a_removal_waits_without_a_timer_while_routes_are_refused_or_unanswered() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         wait 100000
         nack rds
         wait 100000
         commit +rds:r@3        -> rds +r@3
         ack rds                -> cds -a",
    );
}

#[test]
fn a_sotw_client_that_accepts_a_list_accepts_what_it_refused_before() {
    check(
        Sotw,
        "commit +cds:a(sds:s) +lds:l
         list cds               -> cds a
         ack cds
         wait 2000
         list lds               -> lds l
         nack lds
         commit -cds:a
         wait 100000
         commit +lds:m          -> lds l m
         ack lds                -> cds",
    );
}

#[test]
fn a_held_cluster_that_was_listed_at_a_newer_version_is_known_at_that_version() {
    check(
        Sotw,
        "commit +cds:c@2 +rds:r
         list cds ^other        -> cds c@2
         commit +cds:c
         commit -cds:c +cds:a
         ack cds                -> cds a c
         ack cds
         commit +cds:c@2        -> cds a c@2",
    );
}

#[test]
fn a_removal_waits_for_the_drain_timeout_if_routes_are_only_pending() {
    check(
        Delta,
        "commit +cds:a +eds:x
         sub cds ^a ^gone
         wait 29999
         wait 1                 -> cds -gone",
    );
}

#[test]
fn a_removal_waits_as_long_as_routes_wait_for_another_cluster() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds
         sub rds r              -> rds +r
         ack rds
         commit -cds:a -eds:a +cds:b +eds:b +rds:r@2 -> cds +b
         ack cds
         sub eds b              -> eds +b
         wait 30000
         wait 1999
         wait 1                 -> rds +r@2
         ack rds                -> cds -a",
    );
}

#[test]
fn the_parts_of_a_composite_cluster_leave_after_it() {
    check(
        Delta,
        "commit +cds:x +eds:x +cds:m +eds:m +cds:any(cds:x,cds:m) +rds:r
         sub cds                -> cds +any +m +x
         ack cds
         sub eds m x            -> eds +m +x
         sub rds r
         ack eds                -> rds +r
         ack rds
         commit -cds:x -eds:x -cds:m -eds:m -cds:any +rds:r@2   -> rds +r@2
         ack rds                -> cds -any
         ack cds                -> cds -m -x",
    );
    check(
        Sotw,
        "commit +cds:x +eds:x +cds:m +eds:m +cds:any(cds:x,cds:m) +cds:z +eds:z +rds:r
         list cds               -> cds any m x z
         ack cds
         list eds m x z         -> eds m x z
         list rds r
         ack eds                -> rds r
         ack rds
         commit -cds:x -eds:x -cds:m -eds:m -cds:any +rds:r@2   -> rds r@2
         ack rds                -> cds m x z
         ack cds                -> cds z",
    );
}

#[test]
fn a_listener_that_comes_back_while_routes_wait_is_sent_again() {
    check(
        Sotw,
        "commit +lds:a
         list cds               -> cds
         ack cds
         commit +cds:x(sds:s) -lds:a +lds:b     -> cds x
         commit +cds:y(sds:s) +lds:a
         list lds               -> lds a
         ack lds
         ack cds                -> cds x y
         wait 2000              -> lds b
         ack lds
         ack cds
         wait 2000              -> lds a b",
    );
}

#[test]
fn a_cluster_that_comes_back_is_not_removed() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         commit +cds:a(sds:s)
         ack rds
         wait 100000",
    );
}

#[test]
fn a_removed_cluster_lingers_for_requests_that_are_under_way() {
    check_with(
        Delta,
        Mechanisms::ALL,
        Timings::PRODUCTION,
        "commit +cds:a +eds:a +lds:l +rds:r
         sub cds                -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds
         sub lds                -> lds +l
         ack lds
         sub rds r              -> rds +r
         ack rds
         commit -cds:a -eds:a +rds:r@2  -> rds +r@2
         wait 60000
         ack rds
         wait 29999
         wait 1                 -> cds -a",
    );
}

#[test]
fn routes_wait_for_the_endpoints_of_a_cluster_that_is_back_before_it_was_removed() {
    let script = |endpoints: &str, heard: &str| {
        format!(
            "commit +cds:a +eds:a +rds:r
             sub cds                -> cds +a
             ack cds
             sub eds a              -> eds +a
             ack eds
             sub rds r              -> rds +r
             ack rds
             commit -cds:a -eds:a +rds:r@2  -> rds +r@2
             ack rds
             commit +cds:a {endpoints} +rds:r@3 -> {heard}"
        )
    };
    let check = |script: &str| check_with(Delta, Mechanisms::ALL, Timings::PRODUCTION, script);
    check(&format!("{}\n ack eds -> rds +r@3", script("+eds:a@2", "eds +a@2")));
    check(&script("+eds:a", "rds +r@3"));
}

#[test]
fn routes_that_change_all_the_time_do_not_hold_a_removal_for_ever() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit -cds:a +rds:r@2 -> rds +r@2
         commit +rds:r@3
         ack rds                -> rds +r@3; cds -a",
    );
}

#[test]
fn a_removal_that_the_stream_missed_is_held_as_well() {
    let misses = "miss +eds:z\n miss -eds:z\n".repeat(20);
    check(
        Sotw,
        &format!(
            "commit +cds:a(sds:s) +cds:b(sds:s) +rds:r
             list cds               -> cds a b
             ack cds
             wait 2000
             list rds r             -> rds r
             ack rds
             {misses}
             commit -cds:a +cds:b@2 +rds:r@2    -> cds a b@2; rds r@2
             ack cds
             ack rds                -> cds b@2"
        ),
    );
}

#[test]
fn a_gateway_that_is_made_again_begins_its_revisions_anew() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         wait 2000
         sub rds r              -> rds +r
         ack rds
         commit +rds:r@2        -> rds +r@2
         ack rds
         anew
         miss +cds:b(sds:s)
         commit +rds:r@3        -> cds +b
         ack cds
         wait 2000              -> rds +r@3
         ack rds                -> cds -a",
    );
}
