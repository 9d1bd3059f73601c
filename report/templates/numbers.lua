--[[ Refuses every digit that is neither bound to a result nor declared a constant. Bound digits are in
  a span of class "value", which queries write; declared ones are in a span of class "constant", which
  leaves no trace. Formulas, code, citation keys and link targets are no text and may hold digits. ]]
local mistakes = dofile 'mistakes.lua'
local stringify = pandoc.utils.stringify

local NEAR = 8  -- inlines on each side that a message quotes: four words and their spaces
local VALUE = '<span class="value"'

-- Ranges of ASCII digits, superscripts, subscripts, fractions and circled numbers.
local range = lpeg.utfR
local DIGIT = range(0x30, 0x39) + range(0xB2, 0xB3) + range(0xB9, 0xB9) + range(0xBC, 0xBE)
  + range(0x2070, 0x2089) + range(0x2150, 0x218B) + range(0x2460, 0x249B)
local HAS_DIGIT = (1 - DIGIT)^0 * DIGIT

local function check_text(inlines)
  for i, inline in ipairs(inlines) do
    if inline.t == 'Str' and HAS_DIGIT:match(inline.text) then
      local near = stringify{table.unpack(inlines, math.max(1, i - NEAR), math.min(#inlines, i + NEAR))}
      mistakes.add(('unbound digit in "%s", near "%s": write a query for a result, or [%s]{.constant}')
        :format(inline.text, near, inline.text))
    end
  end
end

local function check_verbatim(element)
  if element.text:find(VALUE, 1, true) then
    mistakes.add('a value cannot stand inside a formula or code: close the $ or ` before it')
  end
end

local check = {
  traverse = 'topdown',
  Header = mistakes.enter,
  Inlines = check_text,
  Math = check_verbatim,
  Code = check_verbatim,
  CodeBlock = check_verbatim,
  Span = function(span)
    if span.classes:includes 'constant' then return span.content, false end
    if span.classes:includes 'value' then return span, false end
  end,
  Link = function(link) if link.classes:includes 'uri' then return link, false end end,
}

function check.Cite(cite)  -- only what surrounds the keys is text
  for _, citation in ipairs(cite.citations) do
    citation.prefix = citation.prefix:walk(check)
    citation.suffix = citation.suffix:walk(check)
  end
  return cite, false
end

function Pandoc(doc)
  doc = doc:walk(check)
  mistakes.stop()
  return doc
end
