//! The text that Prometheus reads, a family at a time.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelValue, LabelValueEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::telemetry::{BUCKETS, Latency};

/// The page as far as it is written.
pub(super) struct Page<'e>(pub(super) DescriptorEncoder<'e>);

/// Names and values; each row of a family has the same names.
pub(super) type Labels<'a, const N: usize> = [(&'static str, Text<'a>); N];

/// A label's value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(pub(super) &'a str);

impl Page<'_> {
    /// A sum; `_total` is put behind its name.
    pub(super) fn counter<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.into_iter().try_for_each(|(labels, value)| {
            with(&mut family, &labels, |metric| metric.encode_counter::<NoLabelSet, u64, f64>(&value, None))
        })
    }

    /// What goes up and down.
    pub(super) fn gauge<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a, N>, i64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.into_iter()
            .try_for_each(|(labels, value)| with(&mut family, &labels, |metric| metric.encode_gauge(&value)))
    }

    /// How long something takes, now or at most.
    pub(super) fn seconds<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a, N>, Duration)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.into_iter().try_for_each(|(labels, time)| {
            with(&mut family, &labels, |metric| metric.encode_gauge(&time.as_secs_f64()))
        })
    }

    /// How long things took.
    pub(super) fn histogram<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'a, N>, &'a Latency)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        rows.into_iter().try_for_each(|(labels, latency)| {
            let bounds = BUCKETS.into_iter().chain([f64::MAX]);
            let buckets: Vec<_> = bounds.zip(latency.buckets).collect();
            with(&mut family, &labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(latency.seconds(), latency.count(), &buckets, None)
            })
        })
    }

    /// What is said in labels alone; `_info` is put behind its name.
    pub(super) fn info<'a, const N: usize>(&mut self, name: &str, help: &str, labels: Labels<'a, N>) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }
}

fn with<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &Labels<'_, N>,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    match N {
        0 => write(family),
        _ => write(&mut family.encode_family(labels)?),
    }
}

/// With the escapes of the text format, which the encoder leaves to its callers.
impl EncodeLabelValue for Text<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => encoder.write_str("\\\\"),
            '"' => encoder.write_str("\\\""),
            '\n' => encoder.write_str("\\n"),
            other => encoder.write_char(other),
        })
    }
}
