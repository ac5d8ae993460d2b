//! Seeded bugs, compiled only with the feature `sabotage` and switched on by `SYMBOLON_SABOTAGE`: a check that cannot
//! fail proves nothing, so some test must fail with each of them.

/// Whether durability is only pretended: `SYMBOLON_SABOTAGE=skip-syncs`.
#[cfg(feature = "sabotage")]
pub(crate) fn skips_syncs() -> bool {
    symbolon_sabotage::Bug::SkipSyncs.on()
}

#[cfg(not(feature = "sabotage"))]
pub(crate) const fn skips_syncs() -> bool {
    false
}
