// SPDX-License-Identifier: Apache-2.0
//! The screen, drawn into memory.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gvirtus_protocol::status::{Picture, SessionStatus};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::columns::Column;
use super::model::tests::{picture, session, snapshot};
use super::model::{Model, News};
use super::view::{View, Wish};

fn busy(endpoints: &[&str]) -> Model {
    let mut model = Model::new(endpoints.iter().map(|text| (*text).to_owned()));
    model.update(0, News::Connected(snapshot()));
    let before = [1, 2, 3].map(|n| session(n, 2_000_000, 0)).to_vec();
    let after = [1, 2, 3].map(|n| session(n, 3_000_000, 1000 * n)).to_vec();
    model.update(0, picture(2_000_000, before));
    model.update(0, picture(3_000_000, after));
    model
}

fn draw(view: &mut View, model: &Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("in memory");
    terminal
        .draw(|frame| view.draw(frame, model))
        .expect("in memory");
    let buffer = terminal.backend().buffer();
    let row = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn press(view: &mut View, model: &Model, code: KeyCode) -> Wish {
    view.press(KeyEvent::new(code, KeyModifiers::NONE), model)
}

#[test]
fn the_screen_shows_devices_and_sessions() {
    let model = busy(&["unix:///run/gvirtus.sock"]);
    let lines = draw(&mut View::default(), &model, 100, 12);
    assert!(
        lines[0].starts_with("gvirtus top  unix:///run/gvirtus.sock "),
        "{lines:#?}"
    );
    assert!(lines[0].ends_with(" 3 sessions"), "{lines:#?}");
    assert!(lines[1].starts_with("DEVICE NAME"), "{lines:#?}");
    assert!(
        lines[2].contains("█░░░░░░░░░░░  6.0 GiB / 140 GiB"),
        "{lines:#?}"
    );
    assert!(lines[4].starts_with("SESSION PROGRAM"), "{lines:#?}");
    assert!(lines[4].contains("LAUNCH/S▾"));
    assert!(lines[5].contains("program-3") && lines[5].contains("3000"));
    assert!(lines[7].contains("program-1") && lines[7].ends_with("100"));
    assert!(lines[11].starts_with(" q end"));
}

#[test]
fn the_usual_terminal_shows_every_column() {
    let model = busy(&["unix:///run/gvirtus.sock"]);
    let lines = draw(&mut View::default(), &model, 80, 24);
    assert!(lines[4].ends_with("TRIPS/S"), "{lines:#?}");
    assert!(
        lines[5].contains("program-3") && lines[5].contains("node-1"),
        "{lines:#?}"
    );
    assert!(lines[5].ends_with("300"), "{lines:#?}");
}

#[test]
fn any_size_is_drawn() {
    let model = busy(&["unix:///a", "unix:///b"]);
    for (width, height) in [(1, 1), (5, 3), (20, 4), (80, 24), (300, 100)] {
        let mut view = View::default();
        draw(&mut view, &model, width, height);
        press(&mut view, &model, KeyCode::Char('?'));
        draw(&mut view, &model, width, height);
    }
}

#[test]
fn keys_do_what_the_help_says() {
    let model = busy(&["unix:///a"]);
    let mut view = View::default();
    assert_eq!(press(&mut view, &model, KeyCode::Char('p')), Wish::GoOn);
    assert!(view.is_paused);
    assert!(draw(&mut view, &model, 100, 12)[0].contains("HELD"));
    press(&mut view, &model, KeyCode::Char(' '));
    assert!(!view.is_paused);

    press(&mut view, &model, KeyCode::Char('s'));
    assert_eq!(view.order.column, Column::In);
    press(&mut view, &model, KeyCode::Left);
    assert_eq!(view.order.column, Column::Launches);
    press(&mut view, &model, KeyCode::Char('r'));
    let lines = draw(&mut view, &model, 100, 12);
    assert!(lines[4].contains("LAUNCH/S▴"));
    assert!(lines[5].contains("program-1"));

    press(&mut view, &model, KeyCode::Char('?'));
    let lines = draw(&mut view, &model, 100, 24).join("\n");
    assert!(lines.contains("keys and columns") && lines.contains("TRIPS/S   calls"));
    assert_eq!(press(&mut view, &model, KeyCode::Esc), Wish::GoOn);
    assert!(
        !draw(&mut view, &model, 100, 24)
            .join("\n")
            .contains("keys and columns")
    );

    for code in [KeyCode::Esc, KeyCode::Char('q')] {
        assert_eq!(press(&mut view, &model, code), Wish::End);
    }
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.press(interrupt, &model), Wish::End);
    assert_eq!(press(&mut view, &model, KeyCode::Char('c')), Wish::GoOn);
}

#[test]
fn many_sessions_scroll() {
    let mut model = Model::new(["unix:///a".to_owned()]);
    model.update(0, News::Connected(snapshot()));
    let sessions: Vec<SessionStatus> = (0..100).map(|n| session(n, 1_000_000, 0)).collect();
    model.update(0, picture(1_000_000, sessions));
    let mut view = View::default();
    assert!(draw(&mut view, &model, 100, 12)[5].contains("program-0"));
    press(&mut view, &model, KeyCode::PageDown);
    press(&mut view, &model, KeyCode::Down);
    assert!(draw(&mut view, &model, 100, 12)[5].contains("program-11"));
    for _ in 0..20 {
        press(&mut view, &model, KeyCode::PageDown);
    }
    assert!(draw(&mut view, &model, 100, 12)[5].contains("program-9"));
    press(&mut view, &model, KeyCode::Home);
    assert!(draw(&mut view, &model, 100, 12)[5].contains("program-0"));
}

#[test]
fn what_a_program_calls_itself_does_not_command_the_terminal() {
    let mut hostile = session(1, 1_000_000, 0);
    hostile.program = "\x1b]0;owned\x07\x1b[2Jinnocent".into();
    let sent = Picture {
        now_us: 1_000_000,
        session_count: 1,
        sessions: vec![hostile],
        devices: Vec::new(),
    };
    let read = Picture::decode(&sent.encode()[4..]).expect("a picture");
    let mut model = Model::new(["unix:///a".to_owned()]);
    model.update(0, News::Connected(snapshot()));
    model.update(0, News::Picture(read));
    let lines = draw(&mut View::default(), &model, 140, 12).join("\n");
    assert!(lines.contains("innocent"));
    assert!(!lines.contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn a_backend_that_does_not_answer_is_named() {
    let mut model = busy(&["unix:///a", "unix:///b"]);
    model.update(1, News::Problem("connection refused".into()));
    let lines = draw(&mut View::default(), &model, 160, 14);
    assert!(lines[0].contains("2 backends"));
    assert!(
        lines[1].contains("unix:///b: connection refused"),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("program-3")));
    model.update(0, News::Problem("gone".into()));
    let lines = draw(&mut View::default(), &model, 160, 14).join("\n");
    assert!(lines.contains("last answer 0 s ago") && lines.contains("no sessions"));
}
