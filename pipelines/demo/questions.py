"""What the demo asks its lake at the end: a question in words, and in SQL."""

QUESTIONS = {
    "How fast did the hearts of each study beat, day by day?": """\
select study, day, people, readings, round(mean, 1) as mean from (
  select 'shiftwork' as study, strftime(start, '%Y-%m-%d') as day, count(distinct pseudonym) as people,
         count(*) as readings, avg(value) as mean
  from shiftwork_observation where metric = 'heart_rate' group by all
  union all
  select 'heatwave', strftime(start, '%Y-%m-%d'), count(distinct pseudonym), count(*), avg(value)
  from heatwave_observation where metric = 'heart_rate' group by all
) order by study, day""",
    "Which readings of shiftwork are in doubt?": """\
select metric, 'landed with a flag' as fate, count(*) as readings, min(value) as lowest, max(value) as highest
from shiftwork_observation where flags <> 0 group by all
union all
select metric, 'in quarantine', count(*), min(value), max(value) from shiftwork_quarantine group by all
order by metric, fate""",
    "What did the laboratory find in the kit, and what is in the quarantine of cyclelab?": """\
select metric, value, code, comparator, unit, status, revision, flags, 'landed' as fate from cyclelab_lab_result
union all
select metric, value, code, comparator, unit, status, revision, flags,
       'in quarantine, ' || coalesce('taken back by entry ' || recalled, 'outside the hard range')
from cyclelab_quarantine order by fate desc, metric""",
}
