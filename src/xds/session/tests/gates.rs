//! Make before break, and the order of one flush: xds.md 3.5.

use std::time::Duration;

use crate::{
    settings::{Mechanisms, Timings},
    xds::{
        request::Variant::{Delta, Sotw},
        session::tests::script::{check, check_with},
    },
};

#[test]
fn routes_wait_until_a_new_cluster_has_its_endpoints() {
    check(
        Delta,
        "commit +rds:r +lds:l
         sub cds                -> cds
         ack cds
         sub lds                -> lds +l
         ack lds
         sub rds r              -> rds +r
         ack rds
         commit +cds:a +eds:a +rds:r@2  -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds                -> rds +r@2",
    );
    check(
        Sotw,
        "commit +rds:r +lds:l
         list cds               -> cds
         ack cds
         list lds               -> lds l
         ack lds
         list rds r             -> rds r
         ack rds
         commit +cds:a +eds:a +rds:r@2  -> cds a
         ack cds
         list eds a             -> eds a
         ack eds                -> rds r@2",
    );
}

/// Envoy says nothing when the first round of health checks has ended.
#[test]
fn routes_wait_until_a_new_cluster_has_settled() {
    check(
        Delta,
        "commit +rds:r
         sub cds                -> cds
         ack cds
         sub rds r              -> rds +r
         ack rds
         commit +cds:a~3000 +eds:a +rds:r@2  -> cds +a
         ack cds
         sub eds a              -> eds +a
         wait 500
         ack eds
         wait 2999
         wait 1                 -> rds +r@2",
    );
}

/// A part settles, and what is made of it follows at once.
#[test]
fn routes_wait_until_the_parts_of_a_cluster_have_settled() {
    check(
        Delta,
        "commit +rds:r
         sub cds                -> cds
         ack cds
         sub rds r              -> rds +r
         ack rds
         commit +cds:a~1000 +eds:a +cds:both(cds:a) +rds:r@2  -> cds +a +both
         ack cds
         sub eds a              -> eds +a
         ack eds
         wait 999
         wait 1                 -> rds +r@2
         ack rds
         commit +cds:a@2~1000 +rds:r@3  -> cds +a@2; eds +a; rds +r@3",
    );
}

#[test]
fn routes_do_not_wait_for_a_cluster_that_only_changed() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds
         sub rds r              -> rds +r
         ack rds
         commit +cds:a@2 +rds:r@2   -> cds +a@2; eds +a; rds +r@2",
    );
}

#[test]
fn routes_wait_no_longer_than_the_warm_timeout_after_the_acknowledgement() {
    check(
        Delta,
        "commit +cds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         wait 10000
         ack cds
         wait 1999
         wait 1                 -> rds +r",
    );
    check(
        Sotw,
        "commit +cds:a +rds:r
         list cds               -> cds a
         list rds r
         wait 10000
         nack cds
         wait 1999
         wait 1                 -> rds r",
    );
}

#[test]
fn an_unanswered_cluster_starts_the_warm_timeout_when_its_lease_ends() {
    check(
        Delta,
        "commit +cds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         wait 30000
         wait 1999
         wait 1                 -> rds +r",
    );
}

#[test]
fn endpoints_on_their_way_stop_the_warm_timeout() {
    // A busy Envoy takes its time; routes to a cluster that is still empty would cost requests.
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         wait 10000
         ack eds                -> rds +r",
    );
    // One that never answers for them holds the routes for a lease and a timeout.
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         wait 30000
         wait 1999
         wait 1                 -> rds +r",
    );
}

#[test]
fn refused_endpoints_do_not_open_the_gate() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         nack eds
         wait 2000              -> rds +r",
    );
}

#[test]
fn routes_wait_for_the_secrets_of_a_new_cluster() {
    check(
        Delta,
        "commit +cds:a(eds:a,sds:s) +eds:a +sds:s +rds:r
         sub cds                -> cds +a
         sub rds r
         ack cds
         sub eds a              -> eds +a
         ack eds
         sub sds s              -> sds +s
         ack sds                -> rds +r
         ack rds
         commit +cds:b(sds:s) +rds:r@2  -> cds +b
         ack cds                -> rds +r@2",
    );
}

#[test]
fn routes_wait_for_the_parts_of_a_composite_cluster() {
    check(
        Delta,
        "commit +cds:any(cds:a,cds:a/m) +cds:a +cds:a/m(eds:m) +eds:a +eds:m +rds:r
         sub cds                -> cds +a +a/m +any
         sub rds r
         sub eds a              -> eds +a
         ack cds
         ack eds
         sub eds m              -> eds +m
         ack eds                -> rds +r",
    );
}

#[test]
fn endpoints_sent_before_their_cluster_do_not_open_the_gate() {
    check(
        Delta,
        "commit +eds:a +rds:r +cds:z(sds:z)
         sub eds a              -> eds +a
         sub cds                -> cds +z
         sub rds r
         ack cds
         wait 2000              -> rds +r
         ack rds
         commit +cds:a +rds:r@2 -> cds +a
         ack cds
         ack eds                -> eds +a
         ack eds                -> rds +r@2",
    );
}

#[test]
fn a_steady_flow_of_new_clusters_delays_routes_by_one_warm_up() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         commit +cds:b +eds:b +rds:r@2
         ack cds                -> cds +b
         sub eds a              -> eds +a
         ack eds                -> rds +r
         ack rds
         commit +cds:c +eds:c +rds:r@3
         sub eds b              -> eds +b
         ack cds                -> cds +c
         ack eds                -> rds +r@2
         ack rds
         sub eds c              -> eds +c
         ack cds
         ack eds                -> rds +r@3",
    );
}

#[test]
fn the_endpoints_that_waiting_routes_need_are_sent_though_the_newest_view_lacks_them() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r
         commit -cds:a -eds:a +cds:b +eds:b +rds:r@2
         ack cds                -> cds +b
         sub eds a              -> eds +a
         ack eds                -> rds +r
         ack rds
         sub eds a b            -> eds +a +b
         ack cds
         ack eds                -> rds +r@2
         ack rds                -> cds -a",
    );
}

#[test]
fn a_cluster_that_was_sent_gets_its_endpoints_although_no_routes_will_name_it() {
    check(
        Sotw,
        "commit +cds:a +eds:a +cds:x +eds:x +rds:r
         list cds               -> cds a x
         list eds a x           -> eds a x
         list rds r
         ack eds
         ack cds                -> rds r
         ack rds
         commit -cds:x -eds:x +rds:r@2  -> rds r@2
         ack rds                -> cds a
         commit +cds:d +eds:d
         commit +cds:e +eds:e
         ack cds                -> cds a d e
         commit -cds:e -eds:e
         list eds a d e         -> eds d e",
    );
}

#[test]
fn a_pinned_view_is_given_up_when_its_cluster_will_never_be_sent() {
    check(
        Delta,
        "commit +cds:a(sds:s) +rds:r
         sub cds                -> cds +a
         ack cds
         sub rds r
         wait 2000              -> rds +r
         ack rds
         commit +cds:a@2(sds:s) -> cds +a@2
         commit +cds:b(sds:s) +rds:r@2
         commit -cds:b +rds:r@3 -> rds +r@3",
    );
}

#[test]
fn what_is_gone_when_the_gate_opens_is_not_sent() {
    check(
        Sotw,
        "commit +lds:l +lds:m
         list cds               -> cds
         commit -lds:l +cds:a
         list lds               -> lds m",
    );
}

#[test]
fn endpoints_follow_their_cluster_even_if_unchanged() {
    check(
        Delta,
        "commit +cds:a +eds:a
         sub cds                -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds
         commit +cds:a@2        -> cds +a@2; eds +a",
    );
    check(
        Sotw,
        "commit +cds:a +eds:a +cds:b +eds:b
         list cds               -> cds a b
         ack cds
         list eds a b           -> eds a b
         ack eds
         commit +cds:a@2        -> cds a@2 b; eds a",
    );
}

#[test]
fn a_cluster_that_changed_before_its_endpoints_were_subscribed_is_followed_later() {
    check(
        Delta,
        "commit +cds:a@2 +eds:a
         sub cds ^a             -> cds +a@2
         sub eds a ^a           -> eds +a",
    );
}

#[test]
fn one_flush_is_in_order() {
    check(
        Delta,
        "sub rds r
         sub lds
         sub eds a
         sub cds
         sub sds s
         commit +cds:a +eds:a +lds:l +rds:r +sds:s  -> sds +s; cds +a; eds +a
         ack cds
         ack eds                                    -> lds +l; rds +r",
    );
}

const PLAIN: Mechanisms = Mechanisms { gates: false, ..Mechanisms::ALL };

#[test]
fn without_gates_everything_leaves_at_once_and_in_order() {
    check_with(
        Delta,
        PLAIN,
        Timings::PRODUCTION,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         sub rds r              -> rds +r
         ack cds
         ack rds
         sub eds a              -> eds +a
         ack eds
         commit +cds:a@2 +rds:r@2   -> cds +a@2; rds +r@2
         ack rds
         ack cds
         commit -cds:a +rds:r@3 -> rds +r@3; cds -a",
    );
}

#[test]
fn endpoints_can_be_delayed_without_delaying_other_types() {
    let timings = Timings { endpoint_delay: Duration::from_millis(500), ..Timings::PRODUCTION };
    for (variant, verb, plus) in [(Delta, "sub", "+"), (Sotw, "list", "")] {
        check_with(
            variant,
            Mechanisms::ALL,
            timings,
            &format!(
                "commit +cds:a +eds:a +rds:r +sds:s
                 {verb} cds                -> cds {plus}a
                 {verb} rds r
                 ack cds
                 {verb} eds a
                 {verb} sds s              -> sds {plus}s
                 wait 499
                 wait 1                    -> eds {plus}a
                 ack eds                   -> rds {plus}r
                 ack rds
                 commit +eds:a@2
                 wait 500                  -> eds {plus}a@2"
            ),
        );
    }
}
