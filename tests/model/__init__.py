"""The rules of docs/guarantees.md in plain Python, and the engine against them.

Nothing here knows how the engine works. `rules` says what must be retained and deleted, `threads`
invents databases, `by_hand` makes single threads, `snapshot` reads databases back.

The model is shown right by examples of each rule, the engine by random threads against the model:

| rule | the model, by example | the engine |
| --- | --- | --- |
| 1 the latest checkpoint | `test_rule_1_latest` | `test_interleavings`, `test_any_interleaving` |
| 2 only with proof | | `test_between_calls`, `test_engine` with damaged indexes |
| 3 subgraphs | `test_rule_3_subgraphs` | `test_engine` |
| 4 delta channels | `test_rule_4_delta` | `test_engine` |
| 5 pending sends | `test_rule_5_pending_sends` | `test_engine` |
| 6 interrupts and failed steps | `test_rule_6_writes` | `test_engine` |
| 7 writers do not wait | `test_rule_7_orphans` | `test_engine`, `test_interleavings` |
| 8 nothing else is touched | `test_rule_8_others` | `test_engine` |
| 9 what checkpoints share | `test_rule_9_shared_keys` | the same, on histories of LangGraph.js |
| what a policy keeps | `test_policies` | `test_engine` |

`test_model` shows that the model itself compares and reads rightly, and that LangGraph reads the
same after its trims.
"""
