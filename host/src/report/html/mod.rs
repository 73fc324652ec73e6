//! `report.html`: one file that needs nothing but a browser. Templates and what they show lie here side by side.

pub mod chart;
pub mod charts;
pub mod comparison;
pub mod detail;
pub mod details;
pub mod embed;
pub mod page;
pub mod results;
pub mod write;
