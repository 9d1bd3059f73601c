--[[ Moves the divs "title", "authors", "keywords" and "abstract" from the text into the metadata that the
  templates print. An author is a list item "Name, affiliation". This filter runs last, so that the front
  matter has passed the same checks and citations as the text. It sets the documents' language as well. ]]
local mistakes = dofile 'mistakes.lua'
local inlines_of, stringify = pandoc.utils.blocks_to_inlines, pandoc.utils.stringify

local function items(div)
  local list = div.content[1]
  if list and list.t == 'BulletList' then 
    return list.content:map(function(item) return inlines_of(item) end)
  end
  mistakes.add('::: ' .. div.classes[1] .. ' must hold a list: "- one item a line"')
  return pandoc.List{}
end

local function author(item)
  local name, affiliation = stringify(item):match '^(.-), (.*)$'
  return {name = name or stringify(item), affiliation = affiliation}
end

local read = {
  title = function(div) return inlines_of(div.content) end,
  abstract = function(div) return pandoc.MetaBlocks(div.content) end,
  keywords = items,
  authors = function(div) return items(div):map(author) end,
}

-- The name of a preprint, or of a publisher's record, does not break between lines as its address does.
local function short(link)
  local name = link.target:gsub('^https://arxiv%.org/abs/', 'arXiv:'):gsub('^https://doi%.org/', 'doi:')
  if name ~= link.target then return pandoc.Link(name, link.target) end
end

function Pandoc(doc)
  doc = doc:walk{Div = function(div) if div.identifier == 'refs' then return div:walk{Link = short} end end}
  doc.blocks = doc.blocks:filter(function(block)
    local name = block.t == 'Div' and block.classes[1]
    if not read[name] then return true end
    doc.meta[name] = read[name](block)
    return false
  end)
  for _, name in ipairs{'title', 'authors', 'keywords', 'abstract'} do
    if not doc.meta[name] then mistakes.add('the paper has no "::: ' .. name .. '"') end
  end
  mistakes.stop()
  doc.meta.lang = 'en-GB'
  return doc
end
