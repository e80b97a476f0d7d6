"""The grammar's words, separated by blanks. Each word has one part of speech and regular inflection."""

from __future__ import annotations

NAMES = """Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Mary Nora Oscar Paul Rose Sam Tom Zoe
Alice Martin Peter Julia"""
NOUNS = """dog cat bird horse girl boy farmer doctor teacher king soldier singer writer driver hunter sailor river
mountain forest garden window table chair letter picture song boat train car road bridge tower castle village school
island cloud stone flower tree apple lamp mirror bottle basket hat coat ship wagon lion tiger bear rabbit duck frog
spider snake eagle rat queen"""
TRANSITIVE = """see follow find help call want remember visit like need lift pull bring hold admire hear avoid
describe know love"""
INTRANSITIVE = "sing sleep smile wait arrive shout laugh appear disappear listen"
ADJECTIVES = """old young small large red green blue white black quiet loud happy sad tall short heavy bright dark warm
cold strange slow brave gentle clever famous empty broken golden wooden"""
ADVERBS = "often slowly quietly today again soon happily suddenly always never together here"
PREPOSITIONS = "near behind above below beside beyond before without"
SINGULAR = "this every one"
PLURAL = "these some many two"
