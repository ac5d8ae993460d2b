//! The rows that are printed.

use crate::load::Done;
use crate::measure::Used;

/// Rows of one table.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new() -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header([
            "operation",
            "in flight",
            "per second",
            "p50 ms",
            "p99 ms",
            "CPU-µs nodes",
            "CPU-µs client",
            "k instr. nodes",
            "syncs",
            "failed",
        ]);
        Self(table)
    }

    /// One row; what was not counted shows as a dash.
    pub(crate) fn add(&mut self, operation: &str, in_flight: usize, done: &Done, used: &Used) {
        let each = |total: f64| total / done.operations.max(1) as f64;
        let dash = || "–".to_owned();
        let counted = used
            .instructions
            .map(|count| format!("{:.1}", each(count as f64) / 1000.0));
        self.0.add_row([
            operation.to_owned(),
            in_flight.to_string(),
            format!("{:.0}", done.per_second()),
            format!("{:.2}", done.p50_ms),
            format!("{:.2}", done.p99_ms),
            format!("{:.1}", each(used.nodes_us)),
            format!("{:.1}", each(used.client_us)),
            counted.unwrap_or_else(dash),
            used.syncs
                .map_or_else(dash, |syncs| format!("{:.2}", each(syncs as f64))),
            done.failed.to_string(),
        ]);
    }

    pub(crate) fn print(&self) {
        println!("{}", self.0);
    }
}
