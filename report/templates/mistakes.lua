--[[ Collects the author's mistakes, one line each on standard error, so that one run lists them all.
  render.py reads the lines. A message may be followed by an unknown name and the names that exist, to
  which render.py adds the nearest one. ]]
local mistakes = {section = nil, count = 0}

function mistakes.add(message, wanted, known)
  local place = mistakes.section and (' (section "' .. mistakes.section .. '")') or ''
  local line = {'mistake: ' .. message .. place, wanted, known and table.concat(known, ' ')}
  io.stderr:write((table.concat(line, '\t'):gsub('\n', ' '):gsub('\u{a0}', ' ')), '\n')
  mistakes.count = mistakes.count + 1
end

-- A filter function for headers: later mistakes name this section.
function mistakes.enter(header)
  mistakes.section = pandoc.utils.stringify(header.content)
end

function mistakes.stop()
  mistakes.section = nil
  if mistakes.count > 0 then error('the text has mistakes') end
end

return mistakes
