// SPDX-License-Identifier: Apache-2.0
//! Sensors, clocks, power, errors.

use crate::{INVALID_ARGUMENT, NOT_SUPPORTED, VERSION_MISMATCH, exports, index, list, write};

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FieldValue {
    field: u32,
    scope: u32,
    timestamp: i64,
    latency: i64,
    value_type: u32,
    status: u32,
    value: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Sample {
    timestamp: u64,
    value: u64,
}

exports! {
    fn nvmlDeviceGetTemperature(device: usize, sensor: u32, place: *mut u32) {
        let temperature = 41 + index(device)?;
        match sensor {
            0 => write(place, temperature),
            _ => Err(INVALID_ARGUMENT),
        }
    }
    fn nvmlDeviceGetTemperatureV(device: usize, place: *mut [u32; 3]) {
        let temperature = 41 + index(device)?;
        // SAFETY: a structure that begins with its version.
        let [version, sensor, _] = unsafe { place.read() };
        match version == 1 << 24 | 12 {
            true => write(place, [version, sensor, temperature]),
            false => Err(VERSION_MISMATCH),
        }
    }
    fn nvmlDeviceGetTemperatureThreshold(device: usize, kind: u32, place: *mut u32) {
        index(device)?;
        if kind > 3 {
            return Err(NOT_SUPPORTED);
        }
        write(place, 90 - kind)
    }
    fn nvmlDeviceGetFanSpeed(device: usize, place: *mut u32) {
        index(device)?;
        write(place, 33)
    }
    fn nvmlDeviceGetUtilizationRates(device: usize, place: *mut [u32; 2]) {
        write(place, [70 + index(device)?, 20])
    }
    fn nvmlDeviceGetEncoderUtilization(device: usize, rate: *mut u32, period_us: *mut u32) {
        index(device)?;
        write(rate, 5)?;
        write(period_us, 167_000)
    }
    fn nvmlDeviceGetPowerUsage(device: usize, place: *mut u32) {
        write(place, 123_456 + index(device)?)
    }
    fn nvmlDeviceGetPowerManagementLimit(device: usize, place: *mut u32) {
        index(device)?;
        write(place, 700_000)
    }
    fn nvmlDeviceGetPowerManagementLimitConstraints(device: usize, low: *mut u32, high: *mut u32) {
        index(device)?;
        write(low, 200_000)?;
        write(high, 700_000)
    }
    fn nvmlDeviceGetTotalEnergyConsumption(device: usize, place: *mut u64) {
        index(device)?;
        write(place, 1 << 40)
    }
    fn nvmlDeviceGetPerformanceState(device: usize, place: *mut u32) {
        index(device)?;
        write(place, 0)
    }
    fn nvmlDeviceGetSupportedPerformanceStates(device: usize, place: *mut u32, bytes: u32) {
        index(device)?;
        for at in 0..bytes as usize / 4 {
            write(place.wrapping_add(at), [0, 2, 32][at.min(2)])?;
        }
        Ok(())
    }
    fn nvmlDeviceGetClockInfo(device: usize, kind: u32, place: *mut u32) {
        index(device)?;
        write(place, 1000 + kind)
    }
    fn nvmlDeviceGetMaxClockInfo(device: usize, kind: u32, place: *mut u32) {
        index(device)?;
        write(place, 2000 + kind)
    }
    fn nvmlDeviceGetSupportedMemoryClocks(device: usize, count: *mut u32, place: *mut u32) {
        index(device)?;
        list(&[2619, 1593], count, place)
    }
    fn nvmlDeviceGetSupportedGraphicsClocks(
        device: usize, memory: u32, count: *mut u32, place: *mut u32
    ) {
        index(device)?;
        list(&[memory, 1980, 345], count, place)
    }
    fn nvmlDeviceGetCurrentClocksThrottleReasons(device: usize, place: *mut u64) {
        index(device)?;
        write(place, 1)
    }
    fn nvmlDeviceGetEccMode(device: usize, current: *mut u32, pending: *mut u32) {
        index(device)?;
        write(current, 1)?;
        write(pending, 0)
    }
    fn nvmlDeviceGetTotalEccErrors(device: usize, kind: u32, counter: u32, place: *mut u64) {
        index(device)?;
        write(place, u64::from(10 * kind + counter))
    }
    fn nvmlDeviceGetRetiredPages(
        device: usize, _cause: u32, count: *mut u32, place: *mut u64
    ) {
        index(device)?;
        list(&[0x1000, 0x2000], count, place)
    }
    fn nvmlDeviceGetSamples(
        device: usize, kind: u32, since: u64, value_type: *mut u32, count: *mut u32,
        place: *mut Sample
    ) {
        index(device)?;
        write(value_type, 1)?;
        let sample = |n| Sample { timestamp: since + n, value: u64::from(kind) };
        if place.is_null() {
            return write(count, 2);
        }
        list(&[sample(1), sample(2)], count, place)
    }
    fn nvmlDeviceGetFieldValues(device: usize, count: i32, place: *mut FieldValue) {
        index(device)?;
        for at in 0..usize::try_from(count).map_err(|_| INVALID_ARGUMENT)? {
            let place = place.wrapping_add(at);
            // SAFETY: as many values as the caller says.
            let mut value = unsafe { place.read() };
            value.value_type = 1;
            value.status = u32::from(value.field > 200) * NOT_SUPPORTED;
            value.timestamp = 1_000_000;
            value.value = u64::from(value.field + value.scope);
            write(place, value)?;
        }
        Ok(())
    }
    fn nvmlDeviceGetNvLinkState(device: usize, link: u32, place: *mut u32) {
        index(device)?;
        if link >= 18 {
            return Err(INVALID_ARGUMENT);
        }
        write(place, link % 2)
    }
}
