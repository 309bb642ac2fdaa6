# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 一夜之后 · After a night
#
# 分数、问题、语音测量与识别置信度，一夜一览。数据取自设置所指的数据库（`HUITING_SETTINGS`），引用的原话已打码。
# Scores, findings, speech measures and recogniser confidence of what is stored, from the database that the settings
# name. Quotes are masked.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import pandas as pd
from sqlalchemy import select

from qa.redact import mask
from qa.settings import Settings
from qa.store import open_store
from qa.store.schema import Call, FindingRow, ItemRow, Measures, ScorecardRow, TranscriptRow, TurnRow

settings = Settings.load()
store = open_store(settings.store_url)


def table(query) -> pd.DataFrame:
    """A query's rows as a frame."""
    with store.read() as session:
        return pd.DataFrame(session.execute(query).mappings().all())


plt.rcParams.update({"figure.figsize": (9, 3.6), "axes.spines.top": False, "axes.spines.right": False, "figure.autolayout": True})

# %% [markdown]
# ## 通话 · Calls

# %%
calls = table(
    select(
        Call.id, Call.agent, Call.team, Call.kind, Call.duration, Call.end_emotion, ScorecardRow.score, ScorecardRow.fatal,
        ScorecardRow.suspected, TranscriptRow.mean_probability, TranscriptRow.signs, Measures.silence_share,
        Measures.overlap_share, Measures.longest_silence, Measures.interruptions, Measures.agent_rate,
        Measures.customer_rate, Measures.agent_latency,
    )
    .join(ScorecardRow, (ScorecardRow.call_id == Call.id) & ScorecardRow.current)
    .join(TranscriptRow, (TranscriptRow.call_id == Call.id) & TranscriptRow.current)
    .join(Measures, Measures.transcript_id == TranscriptRow.id)
    .order_by(ScorecardRow.score)
)  # fmt: skip
assert not calls.empty, "Nothing is scored yet: run `huiting run FOLDER` (or `make demo`) first."
print(f"{len(calls)} calls, {calls.duration.sum() / 3600:.2f} h, mean score {calls.score.mean():.1f}, fatal in {calls.fatal.mean():.0%}")
calls.round(2).head(10)

# %% [markdown]
# ## 分数 · Scores
# 致命错误单独计，从不与分数混算。Fatal errors stand beside the score, never in it.

# %%
figure, (left, right) = plt.subplots(1, 2)
left.hist([calls.score[~calls.fatal], calls.score[calls.fatal]], bins=range(0, 105, 5), stacked=True,
          color=["#4c78a8", "#d62728"], label=["no fatal error", "fatal error"])  # fmt: skip
left.set(xlabel="score", ylabel="calls", title="Scores")
left.legend(frameon=False)
by_agent = calls.groupby("agent").score.agg(["mean", "count"]).sort_values("mean")
right.barh(by_agent.index, by_agent["mean"], color="#4c78a8")
right.set(xlabel="mean score", title="By agent", xlim=(0, 100))
plt.show()

# %% [markdown]
# ## 最常不合格的项目 · Items that fail most

# %%
items = table(
    select(ItemRow.rule, ItemRow.dimension, ItemRow.outcome)
    .join(ScorecardRow, ScorecardRow.id == ItemRow.scorecard_id)
    .where(ScorecardRow.current)
)
outcomes = items.groupby(["rule", "outcome"]).size().unstack(fill_value=0)
failed = outcomes[outcomes.get("fail", pd.Series(0, index=outcomes.index)) > 0]
if not failed.empty:
    failed = failed.sort_values("fail").tail(15)
    judged = failed["fail"] + failed.get("pass", 0)
    plt.barh(failed.index, failed["fail"], color="#e45756")
    for row, (count, of) in enumerate(zip(failed["fail"], judged, strict=True)):
        plt.text(count + 0.05, row, f"{count}/{of}", va="center", fontsize=8)
    plt.title("Failed, of judged")
    plt.show()

# %% [markdown]
# ## 证据 · Evidence
# 疑似的问题从不扣分，由人判断。Suspected findings never cost points: a person decides.

# %%
findings = table(
    select(ScorecardRow.call_id, FindingRow.rule, FindingRow.status, FindingRow.how, FindingRow.start, FindingRow.turn,
           FindingRow.start_char, FindingRow.end_char, TurnRow.text)
    .join(ScorecardRow, ScorecardRow.id == FindingRow.scorecard_id)
    .join(TurnRow, (TurnRow.transcript_id == ScorecardRow.transcript_id) & (TurnRow.number == FindingRow.turn), isouter=True)
    .where(ScorecardRow.current, FindingRow.rule.like("neg.%"))
)  # fmt: skip
if not findings.empty:
    findings["said"] = [mask(text) if isinstance(text, str) else "" for text in findings.text]
    findings = findings[["call_id", "rule", "status", "how", "said"]]
findings.head(20)

# %% [markdown]
# ## 声音 · Speech measures

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
calls[["agent_rate", "customer_rate"]].plot.box(ax=axes[0])
axes[0].set(title="Speech rate", ylabel="characters / min")
axes[1].scatter(calls.silence_share, calls.overlap_share, s=30 + 4 * calls.longest_silence, alpha=0.6, color="#72b7b2")
axes[1].set(title="Silence and overlap", xlabel="silence share", ylabel="overlap share")
axes[2].hist(calls.agent_latency.dropna(), bins=15, color="#54a24b")
axes[2].set(title="Median reply latency", xlabel="seconds")
plt.show()

# %% [markdown]
# ## 听清了多少 · How well it was heard
# 置信度低的通话，缺失的用语不算不合格，交给人听。Where words are doubtful, a missing phrase is no failure.

# %%
plt.scatter(calls.mean_probability, calls.score, c=calls.fatal.map({True: "#d62728", False: "#4c78a8"}))
for call in calls.itertuples():
    plt.annotate(call.id, (call.mean_probability, call.score), fontsize=7, xytext=(3, 3), textcoords="offset points")
plt.xlabel("mean word probability")
plt.ylabel("score")
plt.title("Confidence and score")
plt.show()

# %% [markdown]
# ## 客户情绪 · The customer's emotion

# %%
feelings = table(
    select(TranscriptRow.call_id, TurnRow.start, TurnRow.emotion_label, TurnRow.emotion_score)
    .join(TranscriptRow, TranscriptRow.id == TurnRow.transcript_id)
    .where(TranscriptRow.current, TurnRow.role == "customer", TurnRow.emotion_label.is_not(None))
)
if not feelings.empty:
    counts = feelings.groupby(["call_id", "emotion_label"]).size().unstack(fill_value=0)
    order = [label for label in ("angry", "anxious", "sad", "neutral", "happy") if label in counts]
    colors = {"angry": "#d62728", "anxious": "#ff9da6", "sad": "#9d755d", "neutral": "#bab0ac", "happy": "#54a24b"}
    counts[order].plot.barh(stacked=True, color=[colors[label] for label in order], figsize=(9, 0.28 * len(counts) + 1.2))
    plt.xlabel("customer turns")
    plt.ylabel("")
    plt.legend(frameon=False, ncols=5, loc="lower right", bbox_to_anchor=(1, 1))
    plt.show()

# %%
store.close()
