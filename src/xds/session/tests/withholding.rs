//! A member that was never read: xds.md 3.15, row A3 of faults.md.
//!
//! The view of a script is that of a Convoy that has just started; `@9` is what an Envoy was told
//! before, with the member.

use crate::xds::{
    request::Variant::{Delta, Sotw},
    session::tests::script::check,
};

#[test]
fn fault_a03_a_fresh_envoy_waits_for_the_member_and_then_no_longer() {
    for after in ["partial", "whole"] {
        check(
            Delta,
            &format!(
                "know awaited
                 commit +cds:a +eds:a +lds:l +rds:r +sds:s
                 sub cds
                 wait 29999
                 know {after}           -> cds +a
                 ack cds
                 sub eds a              -> eds +a
                 ack eds
                 sub lds                -> lds +l
                 sub rds r              -> rds +r"
            ),
        );
        check(
            Sotw,
            &format!(
                "know awaited
                 commit +cds:a +eds:a +lds:l
                 list cds
                 wait 29999
                 know {after}           -> cds a
                 ack cds
                 list eds a             -> eds a
                 ack eds
                 list lds               -> lds l"
            ),
        );
    }
}

#[test]
fn an_envoy_that_is_served_is_served_on_when_a_member_is_added() {
    check(
        Delta,
        "commit +cds:a +eds:a +rds:r
         sub cds                -> cds +a
         ack cds
         sub eds a              -> eds +a
         ack eds
         sub rds r              -> rds +r
         ack rds
         know awaited
         commit +eds:a@2        -> eds +a@2
         ack eds
         know partial
         commit +cds:b +eds:b +rds:r@2 -> cds +b
         ack cds
         sub eds b              -> eds +b
         ack eds                -> rds +r@2
         ack rds
         commit -cds:a +rds:r@3 -> rds +r@3
         ack rds                -> cds -a",
    );
}

#[test]
fn fault_a03_an_envoy_with_state_keeps_the_endpoints_of_the_dead_member() {
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a +cds:b +eds:b +lds:l +rds:r +sds:s
         sub cds ^a ^b
         sub eds a b ^a@9 ^b
         sub lds ^l
         sub rds r ^r
         sub sds s ^s@9         -> sds +s
         ack sds
         commit +eds:a@2
         commit +eds:b@2        -> eds +b@2
         ack eds
         commit +sds:s@2        -> sds +s@2
         wait 1000000
         know whole             -> eds +a@2
         ack eds
         commit +eds:a@3        -> eds +a@3",
    );
}

#[test]
fn fault_a03_routes_and_new_clusters_flow_beside_what_is_withheld() {
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a +lds:l +rds:r
         sub cds ^a
         sub eds a ^a@9
         sub lds ^l@9           -> lds +l
         ack lds
         sub rds r ^r
         commit +cds:b +eds:b +rds:r@2  -> cds +b
         ack cds
         sub eds b              -> eds +b
         ack eds                -> rds +r@2
         ack rds
         commit +eds:a@2 +eds:b@2       -> eds +b@2
         ack eds
         know whole             -> eds +a@2",
    );
}

#[test]
fn a_cluster_is_withheld_with_its_endpoints() {
    // It would warm for 15 s, because nothing is said of its endpoints.
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a
         sub cds ^a
         sub eds a ^a@9
         commit +cds:a@2
         know whole             -> cds +a@2; eds +a
         ack eds
         ack cds
         commit +cds:a@3        -> cds +a@3; eds +a",
    );
    // Also if it changes before the client tells of its endpoints.
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a
         sub cds ^a
         commit +cds:a@2
         sub eds a ^a@9
         know whole             -> cds +a@2; eds +a",
    );
    // A cluster that the client told at another version than ours.
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a +rds:r@2
         sub cds ^a@9
         sub eds a ^a
         sub rds r ^r           -> rds +r@2
         commit +eds:a@2        -> eds +a@2
         know whole             -> cds +a
         ack cds
         ack eds                -> eds +a@2",
    );
}

#[test]
fn a_cluster_that_the_view_lacks_is_not_removed_until_all_members_are_known() {
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a +rds:r@2
         sub cds ^a ^old
         sub eds a old ^a ^old
         sub rds r ^r           -> rds +r@2
         ack rds
         wait 1000000
         know whole
         commit +eds:a@2        -> eds +a@2
         wait 30000             -> cds -old",
    );
}

#[test]
fn what_was_published_here_holds_nothing_of_the_member() {
    // The client missed a change while it was away: it is not taken for one with state of others.
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a +cds:b +eds:b
         miss +eds:a@2
         miss -cds:b
         miss +eds:a@3
         commit +cds:a@2
         sub cds ^a ^b
         sub eds a b ^a@2 ^b    -> cds +a@2; eds +a@3",
    );
}

#[test]
fn a_client_that_asks_again_is_answered() {
    check(
        Delta,
        "know partial
         commit +cds:a +eds:a +eds:b
         sub cds ^a
         sub eds a b ^a@9 ^b@9
         sub eds a              -> eds +a
         ack eds
         unsub eds b
         sub eds b              -> eds +b
         know whole",
    );
    check(
        Sotw,
        "know partial
         commit +cds:a +eds:a
         list cds ^current
         list eds a ^0123456789abcdef
         list eds ^0123456789abcdef
         list eds a             -> eds a
         ack eds
         know whole",
    );
}

#[test]
fn a_sotw_client_with_the_clusters_of_the_view_keeps_its_endpoints() {
    check(
        Sotw,
        "know partial
         commit +cds:a +eds:a +lds:l +rds:r
         list cds ^current
         list eds a ^0123456789abcdef
         list lds ^current
         list rds r ^0123456789abcdef       -> rds r
         ack rds
         commit +eds:a@2
         commit +rds:r@2        -> rds r@2
         ack rds
         commit +cds:b +eds:b +rds:r@3      -> cds a b
         ack cds
         list eds a b           -> eds b
         ack eds                -> rds r@3
         ack rds
         know whole             -> eds a@2",
    );
}

#[test]
fn a_sotw_client_with_other_clusters_keeps_them_and_its_routes() {
    check(
        Sotw,
        "know partial
         commit +cds:a +eds:a +lds:l +rds:r +sds:s
         list cds ^0123456789abcdef
         list eds a b ^0123456789abcdef
         list lds ^current
         list rds r ^0123456789abcdef
         list sds s ^0123456789abcdef       -> sds s
         commit +cds:b +eds:b
         wait 1000000
         know whole             -> cds a b; eds a b
         ack cds
         ack eds                -> rds r",
    );
}

#[test]
fn a_sotw_client_whose_cluster_changes_keeps_all_of_them() {
    check(
        Sotw,
        "know partial
         commit +cds:a +eds:a +cds:b +eds:b +rds:r
         list cds ^current
         list eds a b ^0123456789abcdef
         list lds ^current
         list rds r ^0123456789abcdef       -> rds r
         ack rds
         commit +cds:a@2 -cds:b +rds:r@2
         wait 1000000
         know whole             -> cds a@2 b; eds a b; rds r@2
         ack cds
         ack eds
         ack rds                -> cds a@2",
    );
}

#[test]
fn a_client_with_an_empty_list_is_a_fresh_one() {
    check(
        Sotw,
        "commit +lds:l
         list cds               -> cds
         ack cds
         list lds               -> lds l",
    );
    check(
        Sotw,
        "know partial
         list cds ^current
         commit +cds:a +eds:a +rds:r        -> cds a
         ack cds
         list eds a             -> eds a
         ack eds
         list rds r             -> rds r",
    );
}
