# SPDX-License-Identifier: ISC
# A raw SMTP or LMTP client for tests: it sends what it is told, byte for byte, and hides nothing.
#
#   my $c = Gatepost::Smtp->new(port => $port);      # or path => '/run/socket', host => ...
#   $c->expect(220);                                 # a test: the next reply has this code
#   $c->cmd("EHLO x", 250);                          # send a line, test the reply's code
#   $c->send("MAIL FROM:<a\@x>\r\nRCPT TO:<b\@y>\r\n");
#   my $r = $c->reply;                               # { code, text, lines }; code 0: closed
package Gatepost::Smtp;
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More ();
use Time::HiRes qw(time);

sub new {
    my ($class, %arg) = @_;
    my $sock =
        $arg{path}
        ? IO::Socket::UNIX->new(Peer => $arg{path})
        : IO::Socket::INET->new(
        PeerAddr => $arg{host} // '127.0.0.1', PeerPort => $arg{port}, Proto => 'tcp',
        ($arg{from} ? (LocalAddr => $arg{from}) : ()), Timeout => $arg{timeout} // 10);
    return if !$sock;
    setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1 if !$arg{path};
    binmode $sock;
    return bless {
        sock => $sock, in => '', timeout => $arg{timeout} // 20, lmtp => $arg{lmtp}, log => [],
    }, $class;
}

sub sock { $_[0]{sock} }

sub send {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $deadline = time + $self->{timeout};
    my $select = IO::Select->new($self->{sock});
    while (length $bytes) {
        return 0 if !$select->can_write($deadline - time);
        my $n = syswrite $self->{sock}, $bytes;
        return 0 if !defined $n;
        substr $bytes, 0, $n, '';
    }
    return 1;
}

# One line without its end; undef when the server closed or was silent for too long.
sub line {
    my ($self) = @_;
    my $deadline = time + $self->{timeout};
    my $select = IO::Select->new($self->{sock});
    while ($self->{in} !~ /\n/) {
        my $left = $deadline - time;
        if ($left <= 0 || !$select->can_read($left)) {
            $self->{timed_out} = 1;
            return;
        }
        my $n = sysread $self->{sock}, $self->{in}, 65536, length $self->{in};
        if (!$n) { $self->{eof} = 1; return }
    }
    $self->{in} =~ s/^([^\n]*)\n//;
    my $line = $1;
    $line =~ s/\r$//;
    push @{ $self->{log} }, "S: $line";
    return $line;
}

sub reply {
    my ($self) = @_;
    my @lines;
    while (defined(my $line = $self->line)) {
        push @lines, $line;
        next if $line =~ /^\d{3}-/;
        return { code => 0 + substr($line, 0, 3), text => join("\n", @lines), lines => \@lines };
    }
    return { code => 0, text => $self->{timed_out} ? 'timed out' : 'closed', lines => \@lines };
}

# A test: the next reply's code (a number) or text (a pattern) is as expected. Returns the reply.
sub expect {
    my ($self, $want, $name) = @_;
    my $r = $self->reply;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = ref $want ? $r->{text} =~ $want : $r->{code} == $want;
    Test::More::ok($ok, $name // "reply $want")
        or Test::More::diag(join "\n", "got: $r->{text}", $self->recent);
    return $r;
}

sub recent {
    my ($self) = @_;
    my @log = @{ $self->{log} };
    splice @log, 0, @log - 12 if @log > 12;
    return @log;
}

# Sends one line. With WANT the reply is tested; without it, it is only returned.
sub cmd {
    my ($self, $line, $want, $name) = @_;
    push @{ $self->{log} }, "C: $line";
    $self->send("$line\r\n");
    return $self->reply if !defined $want;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return $self->expect($want, $name // "$line: $want");
}

# Greeting and EHLO; true when both were accepted. Keywords are then in {ehlo}.
sub hello {
    my ($self, $name) = @_;
    my $r = $self->reply;
    return if $r->{code} != 220;
    $r = $self->cmd(($self->{lmtp} ? 'LHLO ' : 'EHLO ') . ($name // 'client.example'));
    return if $r->{code} != 250;
    $self->{ehlo} = { map { /^250[- ](\S+) ?(.*)/ ? (uc $1 => $2) : () } @{ $r->{lines} } };
    return 1;
}

sub dot_stuff {
    my ($content) = @_;
    $content =~ s/(\A|\r\n)\./$1../g;
    return $content;
}

# One whole transaction by DATA; CONTENT has CRLF line ends. Returns the reply that decided:
# the final one, or the first refusal (of MAIL, of the last RCPT, of DATA).
sub mail {
    my ($self, $from, $to, $content, %arg) = @_;
    my $r = $self->cmd("MAIL FROM:<$from>" . ($arg{mail} ? " $arg{mail}" : ''));
    return $r if $r->{code} != 250;
    my $good = 0;
    for my $rcpt (ref $to ? @$to : $to) {
        $r = $self->cmd("RCPT TO:<$rcpt>" . ($arg{rcpt} ? " $arg{rcpt}" : ''));
        $good++ if $r->{code} == 250 || $r->{code} == 251;
    }
    return $r if !$good;
    $r = $self->cmd('DATA');
    return $r if $r->{code} != 354;
    $self->send(dot_stuff($content) . ($content =~ /\r\n\z|\A\z/ ? '' : "\r\n") . ".\r\n");
    return $self->reply if !$self->{lmtp};
    my @replies = map { $self->reply } 1 .. $good;
    return wantarray ? @replies : $replies[-1];
}

# The same by BDAT, in the given chunks, kept as they are. Returns the last reply.
sub bdat {
    my ($self, $from, $to, @chunks) = @_;
    my $r = $self->cmd("MAIL FROM:<$from> BODY=8BITMIME");
    return $r if $r->{code} != 250;
    for my $rcpt (ref $to ? @$to : $to) {
        $r = $self->cmd("RCPT TO:<$rcpt>");
        return $r if $r->{code} != 250;
    }
    while (defined(my $chunk = shift @chunks)) {
        $self->send('BDAT ' . length($chunk) . (@chunks ? '' : ' LAST') . "\r\n" . $chunk);
        $r = $self->reply;
        return $r if $r->{code} != 250;
    }
    return $r;
}

# The queue id of a final reply.
sub id_of { $_[-1]{text} =~ /queued as (\S+)/ ? $1 : undef }

sub at_eof {
    my ($self) = @_;
    return 1 if $self->{eof};
    my $r = $self->reply;
    return $r->{code} == 0 && !$self->{timed_out};
}

sub quit {
    my ($self) = @_;
    my $r = $self->cmd('QUIT');
    $self->close;
    return $r;
}

sub close { close $_[0]{sock} }

1;
