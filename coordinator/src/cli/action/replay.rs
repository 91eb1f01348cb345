//! Owns carrying out `reeve replay`: reads the trace and the cost functions, replays every run, and shows them together.
//! The coordinator is not asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reeve_common::clock::{Clock, SystemClock};
use reeve_scheduler::{ChoiceRule, CostFunction, presets};

use super::Run;
use crate::chain;
use crate::cli::arguments::ReplayArguments;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Work;
use crate::cli::show;
use crate::replay::{self, CostReport, OverSeeds, Replay, Report, Schedule, Timing, Trace};

impl Run<'_> {
    pub(super) fn replay(&mut self, arguments: &ReplayArguments) -> Result<Exit, Failure> {
        let costs = cost_functions(&arguments.costs)?;
        let trace = replay::read(&arguments.hosts, &arguments.vms)
            .map_err(|errors| Failure::new(Exit::Usage, errors.to_string()))?;
        let report = self.replay_all(arguments, &trace, &costs)?;
        self.print(&show::replay::report(&self.screen, &report))
    }

    fn replay_all(
        &mut self,
        arguments: &ReplayArguments,
        trace: &Trace,
        costs: &[Arc<CostFunction>],
    ) -> Result<Report, Failure> {
        let schedules = schedules(arguments, trace)?;
        let begun = SystemClock.monotonic();
        let mut work = Work::new(self.progress, costs.len() * schedules.len());
        let mut reports = Vec::with_capacity(costs.len());
        for cost in costs {
            let mut runs = Vec::with_capacity(schedules.len());
            for schedule in &schedules {
                let name = match schedule.seed() {
                    Some(seed) if schedules.len() > 1 => format!("{}, seed {seed}", cost.name()),
                    _ => cost.name().to_string(),
                };
                runs.push(replay_one(trace, schedule, cost, &mut |fraction| {
                    work.advance(&name, fraction, since(begun));
                })?);
                work.finish_part(&name, since(begun), self.err);
            }
            let Some(over_runs) = OverSeeds::of(&runs) else { continue };
            let terms = cost.terms().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
            reports.push(CostReport { name: cost.name().clone(), by: cost.rule(), terms, runs, over_runs });
        }
        work.finish();
        let order = schedules.first().map_or(replay::Order::Times, Schedule::order);
        Ok(Report { trace: replay::summary(trace), order, cost_functions: reports })
    }
}

fn schedules(arguments: &ReplayArguments, trace: &Trace) -> Result<Vec<Schedule>, Failure> {
    if !arguments.ignore_times {
        return Ok(vec![Schedule::timed(trace)]);
    }
    let drawn = arguments.all_seeds().map(|seed| Schedule::drawn(trace, arguments.demand, seed));
    drawn.collect::<Result<_, _>>().map_err(|error| Failure::new(Exit::Usage, chain(&error)))
}

fn replay_one(
    trace: &Trace,
    schedule: &Schedule,
    cost: &Arc<CostFunction>,
    watch: &mut dyn FnMut(f64),
) -> Result<replay::Run, Failure> {
    let failed = |error: replay::RunError| Failure::new(Exit::Failed, chain(&error));
    let replay = Replay::new(trace, schedule, cost).map_err(failed)?;
    let begun = SystemClock.monotonic();
    #[allow(clippy::cast_precision_loss)] // a fraction for people
    let outcome = replay.run(&mut |done, all| watch(done as f64 / all.max(1) as f64)).map_err(failed)?;
    let wall_seconds = since(begun).as_secs_f64();
    #[allow(clippy::cast_precision_loss)] // at most ten million
    let decisions_per_second = outcome.arrived as f64 / wall_seconds.max(f64::MIN_POSITIVE);
    let timing = Timing { wall_seconds, decisions_per_second };
    Ok(replay::Run { seed: schedule.seed(), outcome, timing })
}

fn since(begun: Instant) -> Duration {
    SystemClock.monotonic() - begun
}

/// The cost functions that were named; all presets when none was.
fn cost_functions(named: &[String]) -> Result<Vec<Arc<CostFunction>>, Failure> {
    let mut functions = Vec::new();
    for (name, terms) in presets() {
        // The scheduler's own tests compile every preset.
        if let Ok(function) = CostFunction::compile(&name, &terms, ChoiceRule::default()) {
            functions.push(Arc::new(function));
        }
    }
    if named.is_empty() {
        return Ok(functions);
    }
    let preset = |name: &String| functions.iter().find(|preset| preset.name().as_str() == name).cloned();
    named
        .iter()
        .map(|name| {
            preset(name)
                .ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no cost function {name}")))
        })
        .collect()
}
