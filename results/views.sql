-- The views users query. Their names and columns stay from one schema version to the next; columns may be added.
-- They need no function beyond SQLite's own. Every column: docs/database.md.

-- One row a job. Reference, verdict and checkpoint path are those of the latest run that had a reference for the job,
-- else of the latest run.
CREATE VIEW results AS
SELECT e.model, e.bits, e.mode,
       t.num_images, t.num_top1, t.num_top5,
       100.0 * t.num_top1 / nullif(t.num_images, 0) AS top1_pct,
       100.0 * t.num_top5 / nullif(t.num_images, 0) AS top5_pct,
       CASE WHEN t.num_images > 0 THEN t.ci_low_pct END AS ci_low_pct,
       CASE WHEN t.num_images > 0 THEN t.ci_high_pct END AS ci_high_pct,
       CASE WHEN t.completed_at IS NOT NULL THEN t.digest END AS digest,
       CASE WHEN t.completed_at IS NOT NULL THEN coalesce(l.verdict, 'no reference')
            WHEN f.reason IS NOT NULL THEN 'failed' ELSE 'unfinished' END AS verdict,
       CASE WHEN t.completed_at IS NOT NULL THEN coalesce(l.verdict_text, '')
            WHEN f.reason IS NOT NULL
            THEN printf('failed after %,d of %,d images: %s', t.num_images, j.num_images, f.reason)
            ELSE printf('%,d of %,d images evaluated', t.num_images, j.num_images) END AS verdict_text,
       l.reference_top1_pct, l.tolerance, l.reference_source,
       CASE WHEN e.weight_bits > 0 THEN p.quantize_ms END AS quantize_ms,
       p.calibrate_ms,
       1000.0 * t.num_images / nullif(t.compute_ms, 0) AS images_per_s,
       t.num_broken,
       j.num_images AS num_planned,
       f.reason AS failure,
       e.rounding, e.sigma, e.calibration_images, e.engine, e.weight_bits, e.activation_bits,
       e.checkpoint_sha256, e.checkpoint_note, l.checkpoint_path,
       e.dataset_name, e.dataset_fingerprint, e.dataset_size,
       e.numerics_version,
       j.chunk, t.compute_ms, t.completed_at,
       l.run_id, l.reference_baseline_pct,
       e.evaluation, j.config_json, j.identity, j.job_id, p.quantize_device
FROM job j
JOIN evaluation e USING (evaluation_id)
JOIN total t USING (job_id)
LEFT JOIN preparation p USING (evaluation_id)
LEFT JOIN run_job l ON l.job_id = j.job_id AND l.run_id =
  (SELECT run_id FROM run_job WHERE job_id = j.job_id ORDER BY reference_top1_pct IS NULL, run_id DESC LIMIT 1)
LEFT JOIN failure f ON f.failure_id =
  (SELECT max(failure_id) FROM failure WHERE job_id = j.job_id AND cleared_at IS NULL);

-- One row a job and run: what the run compared the job with, and how it stands.
CREATE VIEW verdicts AS
SELECT l.run_id, r.experiment_name, e.model, e.bits, e.mode,
       CASE WHEN t.completed_at IS NOT NULL THEN coalesce(l.verdict, 'no reference')
            WHEN f.reason IS NOT NULL THEN 'failed' ELSE 'unfinished' END AS verdict,
       CASE WHEN t.completed_at IS NOT NULL THEN coalesce(l.verdict_text, '')
            WHEN f.reason IS NOT NULL
            THEN printf('failed after %,d of %,d images: %s', t.num_images, j.num_images, f.reason)
            ELSE printf('%,d of %,d images evaluated', t.num_images, j.num_images) END AS verdict_text,
       100.0 * t.num_top1 / nullif(t.num_images, 0) AS top1_pct,
       l.reference_top1_pct, l.tolerance, l.reference_source, l.reference_baseline_pct,
       t.num_images, j.num_images AS num_planned, l.judged_at, l.checkpoint_path, j.identity
FROM run_job l
JOIN run r USING (run_id)
JOIN job j USING (job_id)
JOIN evaluation e USING (evaluation_id)
JOIN total t USING (job_id)
LEFT JOIN failure f ON f.failure_id =
  (SELECT max(failure_id) FROM failure WHERE job_id = j.job_id AND cleared_at IS NULL);

-- One row a layer of a prepared evaluation.
CREATE VIEW layers AS
SELECT e.model, e.bits, e.mode, y.layer, y.name, y.out_channels, y.in_channels, y.kernel_size,
       y.out_channels * y.in_channels * y.kernel_size AS num_weights,
       y.quantize_ms, y.squared_error, y.max_kernel_error, y.max_channel_error,
       y.squared_error_e, y.max_kernel_error_e, y.max_channel_error_e,
       y.squared_error_k, y.max_kernel_error_k, y.max_channel_error_k,
       y.range_min, y.range_max, y.saturated_low, y.saturated_high, y.sum_bound, y.kernel_kind,
       e.rounding, e.sigma, e.checkpoint_sha256, e.evaluation
FROM layer y JOIN evaluation e USING (evaluation_id);

-- One row a job, run and worker that evaluated tiles of the job: where the numbers come from.
-- Grouped by more than tells the rows apart, so that a condition on a job limits the tiles that are read.
CREATE VIEW provenance AS
SELECT c.model, c.bits, c.mode, c.run_id, c.rank,
       c.num_tiles, c.num_images, c.compute_ms, c.first_finished_at, c.last_finished_at,
       r.git_commit, r.git_dirty, r.version, r.compiler, r.libraries,
       w.host, w.pid, w.device, w.device_name, w.device_uuid, w.driver, w.num_threads,
       c.checkpoint_sha256, c.checkpoint_note,
       (SELECT checkpoint_path FROM run_job WHERE job_id = c.job_id AND run_id = c.run_id) AS checkpoint_path,
       c.dataset_name, c.dataset_fingerprint,
       r.experiment_name, r.experiment_path, r.command_line, r.host AS coordinator_host, r.user, r.slurm_job,
       r.world_size, r.started_at, r.finished_at, r.exit_code, r.uuid AS run_uuid,
       c.identity
FROM (SELECT j.job_id, j.identity, e.model, e.bits, e.mode, k.run_id, k.rank,
             e.checkpoint_sha256, e.checkpoint_note, e.dataset_name, e.dataset_fingerprint,
             count(*) AS num_tiles, sum(k.count) AS num_images, sum(k.compute_ms) AS compute_ms,
             min(k.finished_at) AS first_finished_at, max(k.finished_at) AS last_finished_at
      FROM job j
      JOIN evaluation e USING (evaluation_id)
      JOIN tile k ON k.evaluation_id = j.evaluation_id AND k.first % j.chunk = 0
                 AND k.count = min(j.chunk, j.num_images - k.first)
      GROUP BY j.job_id, k.run_id, k.rank, j.identity, e.model, e.bits, e.mode) c
JOIN run r ON r.run_id = c.run_id
JOIN worker w ON w.run_id = c.run_id AND w.rank = c.rank;

-- One row a complete job and class.
CREATE VIEW classes AS
SELECT e.model, e.bits, e.mode, c.class, n.name AS class_name, c.num_images, c.num_top1, c.num_top5,
       100.0 * c.num_top1 / c.num_images AS top1_pct, 100.0 * c.num_top5 / c.num_images AS top5_pct,
       j.num_images AS num_planned, e.checkpoint_sha256, e.dataset_fingerprint, e.evaluation, j.identity
FROM class_total c
JOIN job j USING (job_id)
JOIN evaluation e USING (evaluation_id)
LEFT JOIN dataset d ON d.fingerprint = e.dataset_fingerprint
LEFT JOIN class n ON n.dataset_id = d.dataset_id AND n.class = c.class;

-- One row a job and image whose outcome is known; the class it was taken for where predictions were asked for. The
-- order of the joins is fixed: a condition on a job limits the tiles that are read.
CREATE VIEW images AS
SELECT e.model, e.bits, e.mode, l.image, l.class, n.name AS class_name,
       CASE substr(k.outcomes, l.image - k.first + 1, 1)
            WHEN '1' THEN 'top1' WHEN '5' THEN 'top5' WHEN 'x' THEN 'broken' ELSE 'wrong' END AS outcome,
       json_extract(p.classes, '$[' || (l.image - k.first) || ']') AS predicted,
       (SELECT name FROM class WHERE dataset_id = d.dataset_id
        AND class = json_extract(p.classes, '$[' || (l.image - k.first) || ']')) AS predicted_name,
       j.num_images AS num_planned, e.checkpoint_sha256, e.dataset_fingerprint, e.evaluation, j.identity
FROM job j
JOIN evaluation e USING (evaluation_id)
CROSS JOIN dataset d ON d.fingerprint = e.dataset_fingerprint
CROSS JOIN tile k ON k.evaluation_id = j.evaluation_id AND k.first % j.chunk = 0
                 AND k.count = min(j.chunk, j.num_images - k.first) AND k.outcomes IS NOT NULL
CROSS JOIN label l ON l.dataset_id = d.dataset_id AND l.image >= k.first AND l.image < k.first + k.count
LEFT JOIN prediction p ON p.evaluation_id = k.evaluation_id AND p.first = k.first AND p.count = k.count
LEFT JOIN class n ON n.dataset_id = d.dataset_id AND n.class = l.class;

-- One row a stored tile.
CREATE VIEW tiles AS
SELECT e.model, e.bits, e.mode, k.first, k.count, k.num_top1, k.num_top5, k.num_broken, k.digest,
       k.run_id, k.rank, k.compute_ms, k.load_ms, k.finished_at, k.outcomes, e.evaluation
FROM tile k JOIN evaluation e USING (evaluation_id);

-- One row a failure, also of those that a later run overcame.
CREATE VIEW failures AS
SELECT e.model, e.bits, e.mode, f.reason, f.log_tail, f.failed_at, f.cleared_at, f.run_id, f.rank,
       w.host, w.device, j.identity
FROM failure f
JOIN job j USING (job_id)
JOIN evaluation e USING (evaluation_id)
LEFT JOIN worker w ON w.run_id = f.run_id AND w.rank = f.rank;

-- One row a start of squant-sweep.
CREATE VIEW runs AS
SELECT r.run_id, r.experiment_name, r.started_at, r.finished_at, r.exit_code, r.world_size,
       count(l.job_id) AS num_jobs,
       count(t.completed_at) AS num_complete,
       r.host, r.user, r.slurm_job, r.version, r.git_commit, r.git_dirty, r.compiler, r.libraries,
       r.command_line, r.experiment_path, r.experiment_json, r.uuid
FROM run r
LEFT JOIN run_job l USING (run_id)
LEFT JOIN total t USING (job_id)
GROUP BY r.run_id;
