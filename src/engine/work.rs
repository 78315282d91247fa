//! Counters of work done: how "cost follows the change" is shown, instead of with timings.

/// What the engine has done since it was made. Every field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Ticks that had something to do.
    pub ticks: u64,
    /// Ingresses parsed.
    pub ingresses: u64,
    /// Attachments of an Ingress to a gateway judged.
    pub attachments: u64,
    /// Hosts assembled from their Ingresses.
    pub hosts: u64,
    /// Services of a member turned into shards.
    pub shards: u64,
    /// Targets arranged.
    pub targets: u64,
    /// Resources encoded, of all types.
    pub resources: u64,
    /// Bytes of protobuf encoded: each changed host, cluster, assignment, listener, certificate.
    pub bytes_encoded: u64,
    /// Bytes of cached hosts copied into a route table, which a change of any host of it costs
    /// (xds.md 3.6).
    pub bytes_copied: u64,
    /// Views published.
    pub views: u64,
}

impl Work {
    /// Derived rows computed again, of all stages.
    pub fn rows(self) -> u64 {
        self.ingresses + self.attachments + self.hosts + self.shards + self.targets
    }

    /// What was done since `earlier`.
    pub fn since(self, earlier: Work) -> Work {
        let Work {
            ticks,
            ingresses,
            attachments,
            hosts,
            shards,
            targets,
            resources,
            bytes_encoded,
            bytes_copied,
            views,
        } = self;
        Work {
            ticks: ticks - earlier.ticks,
            ingresses: ingresses - earlier.ingresses,
            attachments: attachments - earlier.attachments,
            hosts: hosts - earlier.hosts,
            shards: shards - earlier.shards,
            targets: targets - earlier.targets,
            resources: resources - earlier.resources,
            bytes_encoded: bytes_encoded - earlier.bytes_encoded,
            bytes_copied: bytes_copied - earlier.bytes_copied,
            views: views - earlier.views,
        }
    }
}
