"""512 tokens -> thousands: name maps, position rows, global projections, and the proof that nothing was lost.

The room is itself callable: `longspan.extend(...)` is the function of the same name (docs/adr/0002).
"""
