// SPDX-License-Identifier: Apache-2.0
//! The screen, drawn from what is known; and what the keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize as _};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState};

use super::columns::{Column, Order, columns, device_cells, device_titles};
use super::model::{Backend, Device, Model};
use crate::text::Align;

const HELP: &str = " q, Esc, Ctrl-C   end
 ← →, s           sort by another column
 r                sort the other way round
 ↑ ↓, PgUp PgDn   other sessions
 p, space         hold the screen
 ?, h             this help

 MEMORY    what programs have allocated
 LAUNCH/S  kernels launched a second
 IN, OUT   bytes from and to the program
 TRIPS/S   calls that waited for an answer";
const HELP_WIDTH: u16 = 48;
const PAGE_ROWS: isize = 10;
/// Most cells of a device's name.
const NAME_WIDTH: u16 = 32;
/// Cells of a device's memory bar.
const BAR_CELLS: usize = 12;

/// What the user has chosen.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) order: Order,
    pub(crate) is_paused: bool,
    shows_help: bool,
    table: TableState,
}

/// What a key asks of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    End,
    GoOn,
}

impl View {
    /// A key was pressed.
    pub(crate) fn press(&mut self, key: KeyEvent, model: &Model) -> Wish {
        let backends = model.backends.len();
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Wish::End,
            KeyCode::Esc if self.shows_help => self.shows_help = false,
            KeyCode::Char('q') | KeyCode::Esc => return Wish::End,
            KeyCode::Char('?' | 'h') => self.shows_help = !self.shows_help,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('r') => self.order.is_reversed = !self.order.is_reversed,
            KeyCode::Right | KeyCode::Char('s') => self.order = self.order.moved(1, backends),
            KeyCode::Left => self.order = self.order.moved(-1, backends),
            KeyCode::Down => self.scroll(1, model),
            KeyCode::Up => self.scroll(-1, model),
            KeyCode::PageDown => self.scroll(PAGE_ROWS, model),
            KeyCode::PageUp => self.scroll(-PAGE_ROWS, model),
            KeyCode::Home => *self.table.offset_mut() = 0,
            _ => {}
        }
        Wish::GoOn
    }

    fn scroll(&mut self, by: isize, model: &Model) {
        let last = model.sessions().len().saturating_sub(1);
        let offset = self.table.offset_mut();
        *offset = offset.saturating_add_signed(by).min(last);
    }

    /// Draws everything.
    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, model: &Model) {
        let backends = &model.backends;
        let problems = backends.iter().filter(|b| b.problem.is_some()).count();
        // Two thirds of a small screen are for the sessions.
        let device_rows = model
            .devices()
            .len()
            .min(usize::from(frame.area().height) / 3)
            + 1;
        let [head, problem_lines, devices, _, sessions, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(height(problems)),
            Constraint::Length(height(device_rows)),
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_head(frame, head, model);
        let lines: Vec<Line<'_>> = backends.iter().filter_map(problem).collect();
        frame.render_widget(Paragraph::new(lines), problem_lines);
        draw_devices(frame, devices, model);
        self.draw_sessions(frame, sessions, model);
        let keys = " q end   ← → sort   r reverse   p hold   ? help";
        frame.render_widget(Paragraph::new(keys).dim(), foot);
        if self.shows_help {
            draw_help(frame);
        }
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let left = match &model.backends[..] {
            [one] => format!("gvirtus top  {}", one.endpoint),
            several => format!("gvirtus top  {} backends", several.len()),
        };
        let left_out: u64 = model.backends.iter().map(Backend::sessions_left_out).sum();
        let sessions = model.sessions().len() as u64 + left_out;
        let state = if self.is_paused { "HELD   " } else { "" };
        let right = format!("{state}{} ", plural(sessions, "session"));
        frame.render_widget(Paragraph::new(left).bold(), area);
        let right = Paragraph::new(right).alignment(Alignment::Right);
        let width = area.width.min(24);
        let corner = Rect {
            x: area.x + area.width - width,
            width,
            ..area
        };
        frame.render_widget(right, corner);
    }

    fn draw_sessions(&mut self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let columns = columns(model.backends.len());
        let mut sessions = model.sessions();
        self.order.sort(&mut sessions);
        let cells: Vec<Vec<String>> = sessions
            .iter()
            .map(|session| columns.iter().map(|column| column.cell(session)).collect())
            .collect();
        let titles: Vec<String> = columns.iter().map(|column| self.title(*column)).collect();
        let header = columns.iter().zip(&titles).map(|(column, title)| {
            let style = if *column == self.order.column {
                Style::new().add_modifier(Modifier::UNDERLINED)
            } else {
                Style::new()
            };
            cell(title, column.align()).style(style)
        });
        let rows = cells.iter().map(|cells| {
            let cells = cells.iter().zip(columns);
            Row::new(cells.map(|(text, column)| cell(text, column.align())))
        });
        let widths = columns
            .iter()
            .enumerate()
            .map(|(index, column)| match column {
                // The only names without a limit share what is left.
                Column::Program | Column::Host | Column::Backend => Constraint::Fill(1),
                _ => {
                    let texts = cells
                        .iter()
                        .map(|cells| &cells[index])
                        .chain([&titles[index]]);
                    Constraint::Length(width(texts))
                }
            });
        let table = Table::new(rows, widths)
            .header(Row::new(header).reversed())
            .column_spacing(1);
        frame.render_stateful_widget(table, area, &mut self.table);
        if sessions.is_empty() && model.is_complete() {
            let below = Rect {
                y: area.y + 1.min(area.height),
                height: area.height.saturating_sub(1),
                ..area
            };
            frame.render_widget(Paragraph::new(" no sessions").dim(), below);
        }
    }

    /// A column's title, with an arrow where it gives the order.
    fn title(&self, column: Column) -> String {
        match (column == self.order.column, self.order.is_reversed) {
            (false, _) => column.title().to_owned(),
            (true, false) => format!("{}▾", column.title()),
            (true, true) => format!("{}▴", column.title()),
        }
    }
}

fn problem(backend: &Backend) -> Option<Line<'static>> {
    let problem = backend.problem.as_ref()?;
    let ago = backend.answered.map_or(String::new(), |answered| {
        format!(" (last answer {} s ago)", answered.elapsed().as_secs())
    });
    Some(Line::from(format!(" {}: {problem}{ago}", backend.endpoint)).red())
}

fn draw_devices(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let backends = model.backends.len();
    let titles = device_titles(backends);
    let cells: Vec<Vec<String>> = model
        .devices()
        .iter()
        .map(|device| {
            let mut cells = device_cells(device, backends);
            cells[2] = format!("{}  {}", bar(device), cells[2]);
            cells
        })
        .collect();
    let header = titles.iter().map(|(title, align)| cell(title, *align));
    let rows = cells.iter().map(|cells| {
        let cells = cells.iter().zip(titles);
        Row::new(cells.map(|(text, (_, align))| cell(text, *align)))
    });
    let widths = titles.iter().enumerate().map(|(index, (title, _))| {
        let texts = cells.iter().map(|cells| &*cells[index]).chain([*title]);
        match index {
            1 => Constraint::Length(width(texts).min(NAME_WIDTH)),
            // Only where there are several backends.
            5 => Constraint::Fill(1),
            _ => Constraint::Length(width(texts)),
        }
    });
    let table = Table::new(rows, widths)
        .header(Row::new(header).reversed())
        .column_spacing(1);
    frame.render_widget(table, area);
}

/// How full a device's memory is.
fn bar(device: &Device<'_>) -> String {
    let total = device.device.total_memory_bytes.max(1) as f64;
    let part = (device.used_memory_bytes() as f64 / total).min(1.0);
    let full = (part * BAR_CELLS as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR_CELLS - full))
}

fn draw_help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, rows) = (HELP_WIDTH.min(area.width), height(HELP.lines().count() + 2));
    let rows = rows.min(area.height);
    let middle = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - rows) / 2,
        width,
        height: rows,
    };
    frame.render_widget(Clear, middle);
    let help = Paragraph::new(HELP).block(Block::bordered().title(" keys and columns "));
    frame.render_widget(help, middle);
}

fn cell(text: &str, align: Align) -> Cell<'_> {
    let alignment = match align {
        Align::Left => Alignment::Left,
        Align::Right => Alignment::Right,
    };
    Cell::new(Text::from(text).alignment(alignment))
}

fn width(texts: impl IntoIterator<Item = impl AsRef<str>>) -> u16 {
    let widths = texts
        .into_iter()
        .map(|text| Line::from(text.as_ref()).width());
    u16::try_from(widths.max().unwrap_or(0)).unwrap_or(u16::MAX)
}

fn height(rows: usize) -> u16 {
    u16::try_from(rows).unwrap_or(u16::MAX)
}

fn plural(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
