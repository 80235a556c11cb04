//! The AWS stores on emulators: the contracts of their ports, and what becomes of every operation under harm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contracts;
mod faults_log;
mod faults_predict;
mod faults_recorder;
mod faults_services;
mod faults_tables;
mod heartbeats;
mod like_aws;
mod operation;
mod questions;
mod sealing;
mod spill;
