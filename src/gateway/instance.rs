//! What the Envoys of a gateway are to be, for whoever runs them.
//!
//! Owns the vendor's sizes. Must not know how Envoys are run.

use std::collections::BTreeMap;

use crate::{
    gateway::parse::scale,
    model::{Gateway, ListenerKey, Port},
    store::{self, GatewaySpec},
};

/// What a gateway says of its Envoys, and its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Of each Envoy.
    pub size: Size,
    /// How many Envoys; `None` if the object leaves that to others.
    pub replicas: Option<u32>,
    /// What it listens on.
    pub ports: BTreeMap<ListenerKey, Port>,
    /// Where an Envoy says whether it is ready.
    pub ready_port: u16,
}

impl Instance {
    /// Of an object whose spec is valid.
    pub(super) fn new(object: &store::Gateway, gateway: &Gateway) -> Instance {
        let (size, replicas) = match &object.spec {
            GatewaySpec::Mse(spec) => {
                let own = spec.common.as_ref().and_then(|it| it.instance.as_ref());
                let size = own.and_then(|own| own.spec.as_deref()).and_then(Size::named);
                let replicas = own.and_then(|own| own.replicas);
                (size.unwrap_or(Size::DEFAULT), replicas.and_then(|count| count.try_into().ok()))
            }
            // The vendor's object has no word for either.
            GatewaySpec::Alb(_) => scale(&object.annotations),
        };
        Instance {
            size,
            replicas,
            ports: gateway.listeners.iter().map(|(key, own)| (*key, own.port)).collect(),
            ready_port: gateway.ready_port,
        }
    }
}

/// `spec.common.instance.spec`: cores and GiB of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// `2c4g`
    C2G4,
    /// `4c8g`
    C4G8,
    /// `8c16g`
    C8G16,
    /// `16c32g`
    C16G32,
}

impl Size {
    /// All there are.
    pub const ALL: [Size; 4] = [Size::C2G4, Size::C4G8, Size::C8G16, Size::C16G32];
    /// The vendor's default.
    pub const DEFAULT: Size = Size::C4G8;

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Size::C2G4 => "2c4g",
            Size::C4G8 => "4c8g",
            Size::C8G16 => "8c16g",
            Size::C16G32 => "16c32g",
        }
    }

    /// The size that is written so.
    pub fn named(text: &str) -> Option<Size> {
        Size::ALL.into_iter().find(|size| size.as_str() == text)
    }

    /// Cores.
    pub fn cores(self) -> u32 {
        match self {
            Size::C2G4 => 2,
            Size::C4G8 => 4,
            Size::C8G16 => 8,
            Size::C16G32 => 16,
        }
    }

    /// Memory in GiB.
    pub fn memory_gib(self) -> u32 {
        2 * self.cores()
    }
}
