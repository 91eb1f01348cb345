//! Owns a compiled cost function as a flat list of steps, and how it is run.
//!
//! ```text
//!   cells:  [ constants | inputs | one result for each step ]
//!   step:   operation, up to three cells before its own        ──▶ its own cell
//! ```
//!
//! A step reads only cells before its own, so running is one pass without a stack, without branches that depend on
//! values, and nothing in it can fail. Each cell holds `W` numbers: `W` hosts for one request, or `W` requests for one
//! host. Equal steps are made once, steps on constants are done when the function is compiled.

use std::collections::HashMap;

use super::attribute::Input;
use super::fusion::fuse;
use super::operation::{Operation, Points};

/// A number known while building.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cell {
    /// A constant, by its number.
    Constant(usize),
    /// An input, by its number.
    Input(usize),
    /// A step's result, by the step's number.
    Result(usize),
}

/// One step and the cells it works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Step<C> {
    operation: Operation,
    operands: [C; 3],
}

/// A step and the cell that its result goes to. It reads only cells before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlacedStep {
    /// What is done.
    pub(super) operation: Operation,
    /// What it is done to.
    pub(super) operands: [usize; 3],
    /// Where the result goes.
    pub(super) own: usize,
}

/// Gathers steps; hands out cells.
#[derive(Debug, Default)]
pub(super) struct Builder {
    constants: Vec<f64>,
    inputs: Vec<Input>,
    steps: Vec<Step<Cell>>,
    tables: Vec<Points>,
    landmarks: Vec<(Input, f64)>,
    known_constants: HashMap<u64, Cell>,
    known_inputs: HashMap<Input, Cell>,
    known_steps: HashMap<Step<Cell>, Cell>,
}

impl Builder {
    /// How many steps there are so far.
    pub(super) fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// A cell that always holds `value`.
    pub(super) fn constant(&mut self, value: f64) -> Cell {
        *self.known_constants.entry(value.to_bits()).or_insert_with(|| {
            self.constants.push(value);
            Cell::Constant(self.constants.len() - 1)
        })
    }

    /// The value of a cell that is always the same.
    pub(super) fn constant_value(&self, cell: Cell) -> Option<f64> {
        match cell {
            Cell::Constant(number) => self.constants.get(number).copied(),
            Cell::Input(_) | Cell::Result(_) => None,
        }
    }

    /// The cell of an input.
    pub(super) fn input(&mut self, input: Input) -> Cell {
        *self.known_inputs.entry(input).or_insert_with(|| {
            self.inputs.push(input);
            Cell::Input(self.inputs.len() - 1)
        })
    }

    /// Remembers that something happens where the input in `cell` is `place`: a curve bends, a comparison turns.
    pub(super) fn landmark(&mut self, cell: Cell, place: f64) {
        let Cell::Input(number) = cell else { return };
        self.landmarks.extend(self.inputs.get(number).map(|input| (*input, place)));
    }

    /// The places remembered so far.
    pub(super) fn landmarks(&self) -> &[(Input, f64)] {
        &self.landmarks
    }

    /// Keeps a table's points for [`Operation::Table`].
    pub(super) fn table(&mut self, points: Points) -> Operation {
        let number = self.tables.iter().position(|known| *known == points).unwrap_or_else(|| {
            self.tables.push(points);
            self.tables.len() - 1
        });
        Operation::Table(number)
    }

    /// The cell of a step's result. What can be worked out now is.
    pub(super) fn apply(&mut self, operation: Operation, operands: &[Cell]) -> Cell {
        let unused = self.constant(0.0);
        let mut all = [unused; 3];
        for (place, operand) in all.iter_mut().zip(operands) {
            *place = *operand;
        }
        let [first, yes, no] = all;
        if let Some(condition) = self.constant_value(first).filter(|_| operation == Operation::Choose) {
            if condition == 1.0 {
                return yes;
            }
            if condition == 0.0 {
                return no;
            }
        }
        if let [Some(a), Some(b), Some(c)] = all.map(|cell| self.constant_value(cell)) {
            return self.constant(operation.run_once([a, b, c], &self.tables));
        }
        let step = Step { operation, operands: all };
        *self.known_steps.entry(step).or_insert_with(|| {
            self.steps.push(step);
            Cell::Result(self.steps.len() - 1)
        })
    }

    /// The program whose results are `terms` and, behind them, their sum.
    pub(super) fn finish(mut self, terms: &[Cell]) -> Program {
        let sum = terms.iter().copied().reduce(|sum, term| self.apply(Operation::Add, &[sum, term]));
        let sum = sum.unwrap_or_else(|| self.constant(0.0));
        let mut outputs = terms.to_vec();
        outputs.push(sum);
        self.drop_unused(&mut outputs);
        let place = |cell: Cell| match cell {
            Cell::Constant(number) => number,
            Cell::Input(number) => self.constants.len() + number,
            Cell::Result(number) => self.constants.len() + self.inputs.len() + number,
        };
        let steps = self.steps.iter().enumerate().map(|(number, step)| PlacedStep {
            operation: step.operation,
            operands: step.operands.map(place),
            own: place(Cell::Result(number)),
        });
        let steps: Vec<PlacedStep> = steps.collect();
        let sum = place(sum_of(&outputs, sum));
        Program {
            fused: fuse(&steps, &self.constants, sum),
            steps,
            sum,
            terms: outputs.iter().take(terms.len()).map(|cell| place(*cell)).collect(),
            constants: self.constants.clone(),
            inputs: self.inputs.clone(),
            tables: self.tables.clone(),
        }
    }

    /// Drops steps that no output needs, such as the side of a choice that is never taken.
    fn drop_unused(&mut self, outputs: &mut [Cell]) {
        let mut needed = vec![false; self.steps.len()];
        let mark = |cell: &Cell, needed: &mut Vec<bool>| {
            if let Cell::Result(number) = cell {
                needed[*number] = true;
            }
        };
        outputs.iter().for_each(|cell| mark(cell, &mut needed));
        for (number, step) in self.steps.iter().enumerate().rev() {
            if needed[number] {
                step.operands.iter().for_each(|cell| mark(cell, &mut needed));
            }
        }
        let mut next = 0;
        let renumbered: Vec<usize> = needed
            .iter()
            .map(|is_needed| {
                next += usize::from(*is_needed);
                next - usize::from(*is_needed)
            })
            .collect();
        let renumber = |cell: Cell| match cell {
            Cell::Result(number) => Cell::Result(renumbered[number]),
            other => other,
        };
        let steps = std::mem::take(&mut self.steps);
        self.steps = steps
            .into_iter()
            .zip(&needed)
            .filter(|(_, is_needed)| **is_needed)
            .map(|(step, _)| Step { operation: step.operation, operands: step.operands.map(renumber) })
            .collect();
        for output in outputs {
            *output = renumber(*output);
        }
    }
}

fn sum_of(outputs: &[Cell], fallback: Cell) -> Cell {
    outputs.last().copied().unwrap_or(fallback)
}

/// A compiled function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Program {
    constants: Vec<f64>,
    inputs: Vec<Input>,
    steps: Vec<PlacedStep>,
    /// The steps for the sum alone.
    fused: Vec<PlacedStep>,
    tables: Vec<Points>,
    terms: Vec<usize>,
    sum: usize,
}

/// The cells of one program, kept between runs so that its constants are filled in once.
#[derive(Debug, Clone)]
pub(crate) struct Workspace<const W: usize> {
    cells: Vec<[f64; W]>,
    inputs: std::ops::Range<usize>,
}

impl<const W: usize> Workspace<W> {
    /// Where the inputs go, in the order of [`Program::inputs`].
    pub(crate) fn inputs_mut(&mut self) -> &mut [[f64; W]] {
        &mut self.cells[self.inputs.clone()]
    }
}

impl Program {
    /// What it must be given.
    pub(crate) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Fresh cells.
    pub(crate) fn workspace<const W: usize>(&self) -> Workspace<W> {
        let inputs = self.constants.len()..self.constants.len() + self.inputs.len();
        let mut cells = vec![[0.0; W]; inputs.end + self.steps.len()];
        for (cell, constant) in cells.iter_mut().zip(&self.constants) {
            *cell = [*constant; W];
        }
        Workspace { cells, inputs }
    }

    /// Runs the program on the inputs in `workspace`, which is one of its own, and returns the sums of its terms.
    pub(crate) fn run<'a, const W: usize>(&self, workspace: &'a mut Workspace<W>) -> &'a [f64; W] {
        self.run_steps(&self.fused, workspace)
    }

    /// The same; [`Program::terms`] can be asked afterwards.
    pub(crate) fn run_by_term<'a, const W: usize>(&self, workspace: &'a mut Workspace<W>) -> &'a [f64; W] {
        self.run_steps(&self.steps, workspace)
    }

    #[inline]
    fn run_steps<'a, const W: usize>(
        &self,
        steps: &[PlacedStep],
        workspace: &'a mut Workspace<W>,
    ) -> &'a [f64; W] {
        let cells = &mut workspace.cells;
        for step in steps {
            let (before, own) = cells.split_at_mut(step.own);
            let operands = step.operands.map(|cell| &before[cell]);
            step.operation.run(operands, &self.tables, &mut own[0]);
        }
        &workspace.cells[self.sum]
    }

    /// The value of each term after [`Program::run_by_term`].
    pub(crate) fn terms<const W: usize>(&self, workspace: &Workspace<W>) -> impl Iterator<Item = [f64; W]> {
        self.terms.iter().map(|cell| workspace.cells[*cell])
    }
}
