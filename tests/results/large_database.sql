-- Fills an empty results database with a big sweep, for tests of speed. Before it:
--   CREATE TEMP TABLE size AS SELECT 100000 AS jobs, 50 AS tiles, 20 AS layers, 40 AS runs;
-- `jobs` is rounded down to whole models of 25: float, and four modes at each of six bit widths. A run evaluates an
-- equal share of the models on 64 workers; the jobs of a model share their tiles of 1,000 images.
CREATE TEMP TABLE cell AS
  WITH bits (bits, w, a) AS (VALUES ('w8a8', 8, 8), ('w6a6', 6, 6), ('w4a4', 4, 4), ('w5', 5, 0), ('w4', 4, 0), ('w3', 3, 0)),
       modes (mode) AS (VALUES ('squant-e'), ('squant-k'), ('squant-c'), ('squant'))
  SELECT 'float' AS bits, 0 AS w, 0 AS a, 'float' AS mode UNION ALL SELECT bits, w, a, mode FROM bits, modes;

BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n, size WHERE i < size.runs)
INSERT INTO run (run_id, uuid, experiment_name, experiment_path, experiment_json, command_line, git_commit, git_dirty,
                 version, compiler, libraries, host, user, slurm_job, world_size, started_at, finished_at, exit_code)
SELECT i, printf('%032x', i), 'large' || i, 'large.json', '{}', 'squant-sweep large.json', printf('%040x', i), 0,
       '0.1.0', 'GNU 12.2.0', 'SQLite', 'node0', 'ada', '', 65,
       strftime('%Y-%m-%dT%H:%M:%fZ', 2461000.5 + i), strftime('%Y-%m-%dT%H:%M:%fZ', 2461000.5 + i + 0.5), 0
FROM n;

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64)
INSERT INTO worker (run_id, rank, host, pid, device, device_name, device_uuid, driver, num_threads)
SELECT run_id, i, 'node' || (i / 8), 1000 + i, 'cuda:' || (i % 8), 'NVIDIA H100', 'GPU-' || i, '580', 8 FROM run, n;

WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n, size WHERE i + 1 < size.jobs / 25)
INSERT INTO evaluation (evaluation_id, evaluation, model, bits, weight_bits, activation_bits, mode, rounding, sigma,
                        calibration_images, engine, checkpoint_sha256, checkpoint_note, dataset_name, dataset_fingerprint,
                        dataset_size, numerics_version)
SELECT 25 * n.i + cell.rowid, printf('%064x', 25 * n.i + cell.rowid), 'model' || n.i, bits, w, a, mode, 'current',
       iif(a > 0, 12.0, 0.0), 32, iif(a > 0, 'integer', 'float'), printf('%064x', n.i), '', 'imagenet-val',
       printf('%064x', 7), 50000, 1
FROM n, cell;

INSERT INTO job (job_id, identity, evaluation_id, num_images, chunk, config_json)
SELECT evaluation_id, printf('%064x', evaluation_id * 7919), evaluation_id, size.tiles * 1000, 1000, '{}'
FROM evaluation, size;

-- A model's tiles go to one worker in turn, four a worker at a time; every job of the tile takes 100 ms.
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n, size WHERE i + 1 < size.tiles)
INSERT INTO tile (evaluation_id, first, count, num_top1, num_top5, num_broken, digest, run_id, rank, compute_ms, load_ms,
                  finished_at)
SELECT e.evaluation_id, n.i * 1000, 1000, 640 + (e.evaluation_id * 31 + n.i * 17) % 60, 900, 0,
       iif(e.activation_bits > 0, printf('%032x', e.evaluation_id * 1000 + n.i), NULL),
       1 + m.model % size.runs, 1 + (n.i + 5 * m.model) % 64, 100.0 + n.i % 7, 300.0 + n.i,
       strftime('%Y-%m-%dT%H:%M:%fZ', 2461000.5 + (1 + m.model % size.runs) + (10.0 + 3.1 * (m.model / size.runs)) / 86400)
FROM evaluation e JOIN (SELECT evaluation_id, (evaluation_id - 1) / 25 AS model FROM evaluation) m USING (evaluation_id), n, size;

INSERT INTO total (job_id, num_tiles, num_images, num_top1, num_top5, num_broken, digest, compute_ms, ci_low_pct,
                   ci_high_pct, completed_at)
SELECT evaluation_id, count(*), sum(count), sum(num_top1), sum(num_top5), 0, max(digest), sum(compute_ms),
       100.0 * sum(num_top1) / sum(count) - 0.4, 100.0 * sum(num_top1) / sum(count) + 0.4, max(finished_at)
FROM tile GROUP BY evaluation_id;

INSERT INTO run_job (job_id, run_id, checkpoint_path, reference_top1_pct, tolerance, reference_source,
                     reference_baseline_pct, verdict, verdict_text, judged_at)
SELECT job_id, 1 + (job_id - 1) / 25 % size.runs, '/data/model.pth', 66.9, 0.2, 'large', NULL,
       iif(job_id % 100 = 0, 'fail', 'pass'), printf('job %d is not like its reference', job_id), '2026-01-31T12:00:00.000Z'
FROM job, size;

INSERT INTO preparation (evaluation_id, run_id, rank, ranges_json, quantize_ms, calibrate_ms, num_weights, finished_at)
SELECT job_id, run_id, 1, '[]', 0.5 + job_id % 10, 40, 11000000, '2026-01-31T12:00:00.000Z' FROM run_job;

WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n, size WHERE i + 1 < size.layers)
INSERT INTO layer (evaluation_id, layer, name, out_channels, in_channels, kernel_size, quantize_ms, squared_error,
                   max_kernel_error, max_channel_error, range_min, range_max, sum_bound, kernel_kind)
SELECT evaluation_id, n.i, 'features.' || n.i, 64, 64, 9, 0.02, 3000.0 + 100 * (n.i % 5), 0.5, 0.5, 0, 6, 4096, 'int8'
FROM preparation, n WHERE evaluation_id % 25 <> 1;
COMMIT;
