//! Proximity: which members of a gateway are near it, for gateways that ask (semantics.md 10, A45).
//!
//! Owns what near means. Off unless a gateway asks for it: then every replica is equal.

use std::sync::Arc;

use crate::{
    diag::{Diag, Field, Reason},
    gateway::knobs::Knobs,
    key::{MemberId, ObjectRef},
    model::{Gateway, Prefer, Preference},
    settings::GatewayDefaults,
    store::Locality,
};

/// What counts as near: `region` or `zone`.
const PREFER: &str = "convoy.dev/prefer";
/// Where the gateway's Envoys are.
const REGION: &str = "convoy.dev/region";
const ZONE: &str = "convoy.dev/zone";

/// How far a member is from the gateway; the least is nearest. A member whose region is not known
/// is nowhere near.
pub fn proximity(gateway: &Gateway, member: &Locality) -> u32 {
    let Preference { prefer, region, zone } = &gateway.preference;
    let is_in_region = *member.region == **region;
    let is_in_zone = is_in_region && *member.zone == **zone;
    match prefer {
        Prefer::Nothing => 0,
        Prefer::Region => u32::from(!is_in_region),
        Prefer::Zone if is_in_zone => 0,
        Prefer::Zone => 1 + u32::from(!is_in_region),
    }
}

/// What is wrong with the gateway while nobody knows where some of its members are. They are used
/// after those that are near.
pub fn unplaced(gateway: &Gateway, locality: &dyn Fn(&MemberId) -> Option<Locality>) -> Vec<Diag> {
    let needs_zone = match gateway.preference.prefer {
        Prefer::Nothing => return Vec::new(),
        Prefer::Region => false,
        Prefer::Zone => true,
    };
    let root = Field::of(&ObjectRef::fleet(gateway.id.kind, gateway.id.name.clone()));
    let finding = |id: &MemberId| {
        let Locality { region, zone } = locality(id)?;
        let (unknown, effect) = match (region.is_empty(), zone.is_empty()) {
            (true, _) => ("region", "it counts as far away"),
            (false, true) if needs_zone => ("zone", "it counts as in another zone"),
            (false, _) => return None,
        };
        let message = format!("the {unknown} of member {id} is not known: {effect}");
        Some(Diag::warning(&root.annotation(PREFER), Reason::RegionUnknown, message))
    };
    gateway.members.iter().filter_map(finding).collect()
}

impl Knobs<'_> {
    /// What the gateway prefers. One that does not know where it is prefers nothing, and says so.
    pub(super) fn preference(&mut self, defaults: &GatewayDefaults) -> Preference {
        let asked = |text: &str| match text {
            "region" => Some(Prefer::Region),
            "zone" => Some(Prefer::Zone),
            _other => None,
        };
        let kind = "`region` or `zone`";
        let asked = self.value(PREFER, asked, kind, Prefer::Nothing, "none");
        let (region, zone) = (self.home(REGION, &defaults.region), self.home(ZONE, &defaults.zone));
        let unknown = |what: &str, effect: &str| {
            let message = format!(
                "the {what} of this gateway is not known: neither its annotation `convoy.dev/{what}` \
                 nor the flag `--{what}` says it; {effect}"
            );
            Diag::warning(&self.root.annotation(PREFER), Reason::RegionUnknown, message)
        };
        let prefer = match asked {
            Prefer::Nothing => Prefer::Nothing,
            Prefer::Region | Prefer::Zone if region.is_empty() => {
                self.diags.push(unknown("region", "every member is as near as any other"));
                Prefer::Nothing
            }
            Prefer::Zone if zone.is_empty() => {
                self.diags.push(unknown("zone", "the members of its region are preferred"));
                Prefer::Region
            }
            Prefer::Region | Prefer::Zone => asked,
        };
        match prefer {
            // Where it is says nothing then, so it must not make the gateway differ.
            Prefer::Nothing => Preference::default(),
            Prefer::Region | Prefer::Zone => Preference { prefer, region, zone },
        }
    }

    fn home(&self, key: &str, default: &Arc<str>) -> Arc<str> {
        let own = self.annotations.get(key).map(|text| text.trim());
        own.filter(|text| !text.is_empty()).map_or_else(|| default.clone(), Arc::from)
    }
}

#[cfg(test)]
mod tests;
